-- Estimate and truth of each month's champion, side by side, up to $month. Grain: month and metric.
-- Owner: tasks.reports.
WITH champions AS (
    SELECT month, champion AS model, version, basis FROM scorings WHERE month <= $month
)
SELECT
    c.month, c.model, c.version, any_value(c.basis) AS basis, p.metric,
    any_value(p.value) FILTER (WHERE p.sample = 'estimated') AS estimated,
    any_value(p.value) FILTER (WHERE p.sample = 'realised') AS realised,
    any_value(v.low) AS low, any_value(v.high) AS high
FROM champions AS c
INNER JOIN performance AS p
    ON p.month = c.month AND p.model = c.model AND p.version = c.version AND p.sample IN ('estimated', 'realised')
LEFT JOIN validation AS v
    ON v.month = c.month AND v.model = c.model AND v.version = c.version AND v.statistic = p.metric
GROUP BY c.month, c.model, c.version, p.metric
ORDER BY c.month, p.metric, c.model
