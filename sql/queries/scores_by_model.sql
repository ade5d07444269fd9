-- The models that scored a month, the champion first. Grain: model. Owner: sql/publish.py.
SELECT DISTINCT model, is_champion
FROM scores
WHERE month = $month
ORDER BY is_champion DESC, model
