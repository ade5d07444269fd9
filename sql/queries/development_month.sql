-- The month in which a set of models was developed. Grain: at most one row. Owner: tasks/decide.py.
SELECT min(month) AS month
FROM models
WHERE version = $version
HAVING count(*) > 0
