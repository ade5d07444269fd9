-- One model's entry in the registry. Grain: at most one row. Owner: tasks/decide.py.
SELECT
    artifact,
    manifest_sha256,
    attributes,
    month
FROM models
WHERE model = $model AND version = $version
