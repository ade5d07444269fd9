-- PDs of a month's champion and outcomes, summed up over the clients whose outcome is known. A query of its own: with
-- the month at hand DuckDB leaves all others unread. Grain: one row. Owner: tasks/alerts.py.
SELECT
    count(*) AS clients,
    sum(o.defaulted)::BIGINT AS defaulters,
    sum(s.pd) AS expected,
    sum(s.pd * (1 - s.pd)) AS variance
FROM score_rows AS s
INNER JOIN outcomes AS o ON s.month = o.month AND s.client_id = o.client_id
WHERE s.is_champion AND s.month = $month AND o.month = $month
