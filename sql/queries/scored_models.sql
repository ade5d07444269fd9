-- The models that scored a month, the champion first. Grain: model. Owner: tasks/monitor.py.
SELECT DISTINCT
    model,
    version,
    basis,
    is_champion
FROM scores
WHERE month = $month
ORDER BY is_champion DESC, model
