-- The contents that a set learned from, as JSON. Grain: at most one row. Owner: tasks/decide.py.
SELECT any_value(training_files) AS training_files
FROM models
WHERE version = $version
GROUP BY version
