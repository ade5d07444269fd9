-- The models of one set. Grain: model. Owner: tasks/score.py.
SELECT
    model,
    artifact,
    manifest_sha256,
    training_months
FROM models
WHERE version = $version
ORDER BY model
