-- At most $limit of the champion's scored clients with attributes, PD and outcome (NULL while unknown).
-- The order is that of a seeded digest of the client ID: random with respect to the data, and the same
-- on every machine whatever the number of threads. Grain: one row per client. Owner: tasks.reports.
-- The join with the outcomes stands outside: DuckDB 2.0.0 drops a LIMIT over a LEFT JOIN that it knows to be empty.
WITH chosen AS MATERIALIZED (
    SELECT s.client_id, s.score, s.pd, md5($seed::VARCHAR || ':' || s.client_id) AS place
    FROM scores AS s
    WHERE
        s.month = $month AND s.is_champion
        AND (
            $known_only = FALSE
            OR s.client_id IN (SELECT client_id FROM outcomes WHERE month = $month AND defaulted IS NOT NULL)
        )
    ORDER BY place, s.client_id
    LIMIT $limit
)
SELECT c.* EXCLUDE (month, client_id, row_number, file_sha256), s.score, s.pd, o.defaulted
FROM chosen AS s
INNER JOIN clients AS c ON c.month = $month AND c.client_id = s.client_id
LEFT JOIN outcomes AS o ON o.month = $month AND o.client_id = s.client_id
ORDER BY s.place, s.client_id
