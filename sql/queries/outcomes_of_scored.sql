-- Outcomes of the clients whom a month's champion scored, where known. Grain: client. Owner: tasks/assess.py.
-- Joined first and sorted then: both at once want more memory than there may be.
WITH scored AS MATERIALIZED (
    SELECT
        s.client_id,
        o.defaulted
    FROM scores AS s
    LEFT JOIN outcomes AS o ON s.month = o.month AND s.client_id = o.client_id
    WHERE s.month = $month AND s.is_champion
)

SELECT defaulted
FROM scored
ORDER BY client_id
