-- The champion's PD and points in a few figures. Grain: one row; figures NULL where nobody was scored.
-- Owner: tasks.reports.
-- One list of quantiles: each asked for by itself would hold all PDs in memory once more.
WITH summed AS (
    SELECT
        count(*) AS clients, avg(pd) AS mean, min(pd) AS low, max(pd) AS high,
        quantile_cont(pd, [0.05, 0.25, 0.5, 0.75, 0.95]) AS quantiles
    FROM score_rows
    WHERE month = $month AND is_champion
)
SELECT
    clients, mean, low, quantiles[1] AS p05, quantiles[2] AS p25, quantiles[3] AS median, quantiles[4] AS p75,
    quantiles[5] AS p95, high
FROM summed
