-- The models that scored the month, with what they were developed on; champion first.
-- Grain: one row per model, version and basis. Owner: tasks.reports.
WITH used AS (
    SELECT
        model, version, is_champion, basis, count(*) AS scored, avg(pd) AS mean_pd,
        any_value(run_id) AS run_id, any_value(code_version) AS code_version, any_value(scored_at) AS scored_at
    FROM scores WHERE month = $month
    GROUP BY model, version, is_champion, basis
)
SELECT
    used.model, used.version, used.is_champion, used.basis, used.scored, used.mean_pd,
    used.run_id, used.code_version, used.scored_at,
    m.month AS trained_in, m.training_months, m.training_rows, m.training_defaulters,
    m.manifest_sha256, m.seed, m.fit_seconds, m.attributes, m.calibrator, m.cut_off
FROM used
LEFT JOIN models AS m ON m.model = used.model AND m.version = used.version
ORDER BY used.is_champion DESC, used.model, used.version, used.basis
