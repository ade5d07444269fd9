-- One model's row of the registry. Grain: at most one row. Owner: tasks/registry.py.
SELECT *
FROM models
WHERE model = $model AND version = $version
