-- Gains: clients with a known outcome in twentieths by PD, riskiest first. Grain: twentieth. Owner: tasks.reports.
WITH ranked AS (
    SELECT s.pd, o.defaulted, ntile(20) OVER (ORDER BY s.pd DESC, s.client_id) AS twentieth
    FROM scores AS s
    INNER JOIN outcomes AS o ON o.month = $month AND o.client_id = s.client_id
    WHERE s.month = $month AND s.is_champion
)
SELECT
    twentieth, count(*) AS clients, sum(defaulted)::BIGINT AS defaulters, avg(pd) AS mean_pd, min(pd) AS low_pd,
    max(pd) AS high_pd
FROM ranked
GROUP BY twentieth
ORDER BY twentieth
