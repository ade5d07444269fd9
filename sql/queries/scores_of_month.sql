-- A model's raw scores of a month. Grain: client. Owner: tasks/decide.py.
SELECT score
FROM scores
WHERE month = $month AND model = $model AND version = $version
