-- Held-out metrics of each model version that scored the month, the metrics that were estimated from its PDs, and
-- those realised on its outcomes.
-- Grain: one row per model, version, sample and metric. Owner: tasks.reports.
SELECT p.model, p.version, p.sample, p.basis, p.month, p.metric, p.value, p.clients, p.defaulters, p.reason
FROM performance AS p
SEMI JOIN scores AS s ON s.month = $month AND s.model = p.model AND s.version = p.version
WHERE p.sample = 'held_out' OR p.month = $month
ORDER BY p.model, p.version, p.sample, p.metric
