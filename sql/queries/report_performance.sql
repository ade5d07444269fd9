-- Held-out metrics of each model version that scored the month, and the metrics realised on its outcomes.
-- Grain: one row per model, version, sample and metric. Owner: tasks.reports.
SELECT p.model, p.version, p.sample, p.basis, p.month, p.metric, p.value, p.clients, p.defaulters, p.reason
FROM performance p
SEMI JOIN scores s ON s.month = $month AND s.model = p.model AND s.version = p.version
WHERE p.sample = 'held_out' OR p.month = $month
ORDER BY p.model, p.version, p.sample, p.metric
