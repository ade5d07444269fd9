-- Every registered model, newest set first. Grain: one row per model and version. Owner: tasks.reports.
SELECT
    model, version, month, training_months, training_rows, training_defaulters, training_sha256,
    manifest_sha256, artifact, seed, fit_seconds, code_version, run_id, trained_at, attributes, calibrator, cut_off
FROM models
ORDER BY month DESC, version DESC, model
