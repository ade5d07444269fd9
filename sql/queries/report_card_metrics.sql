-- Every metric of every model, held out and realised. Grain: one row per model, version, sample, month and metric.
-- Owner: tasks.reports.
SELECT model, version, sample, basis, month, metric, value, clients, defaulters, reason
FROM performance
WHERE sample IN ('held_out', 'realised')
ORDER BY version, model, sample, month, metric
