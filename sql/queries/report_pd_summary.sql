-- The champion's PD and points in a few figures. Grain: one row; figures NULL where nobody was scored.
-- Owner: tasks.reports.
SELECT
    count(*) AS clients, avg(pd) AS mean, min(pd) AS low,
    quantile_cont(pd, 0.05) AS p05, quantile_cont(pd, 0.25) AS p25, quantile_cont(pd, 0.5) AS median,
    quantile_cont(pd, 0.75) AS p75, quantile_cont(pd, 0.95) AS p95, max(pd) AS high
FROM scores
WHERE month = $month AND is_champion
