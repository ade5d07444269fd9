-- The newest month whose outcomes a set learned from that was developed before the given month.
-- Grain: one row, NULL where there is no set. Owner: tasks/decide.py.
SELECT max(list_max(training_months)) AS month
FROM models
WHERE month < $month
