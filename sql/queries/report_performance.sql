-- Held-out metrics of each model version that scored the month, the metrics that were estimated from its PDs, and
-- those realised on its outcomes.
-- Grain: one row per model, version, sample and metric. Owner: tasks.reports.
WITH used AS (
    SELECT DISTINCT model FROM score_rows WHERE month = $month
)
SELECT p.model, p.version, p.sample, p.basis, p.month, p.metric, p.value, p.clients, p.defaulters, p.reason
FROM performance AS p
INNER JOIN scorings AS s ON s.month = $month AND s.version = p.version
SEMI JOIN used ON used.model = p.model
WHERE p.sample = 'held_out' OR p.month = $month
ORDER BY p.model, p.version, p.sample, p.metric
