-- The models that scored a month. Grain: model. Owner: tasks/monitor.py.
SELECT DISTINCT
    model,
    version,
    basis
FROM scores
WHERE month = $month
ORDER BY model
