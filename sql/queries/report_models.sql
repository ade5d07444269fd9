-- The models that scored the month, with what they were developed on; champion first.
-- Grain: one row per model. Owner: tasks.reports.
WITH used AS (
    SELECT model, is_champion, count(*) AS scored, avg(pd) AS mean_pd
    FROM score_rows WHERE month = $month
    GROUP BY model, is_champion
)
SELECT
    used.model, s.version, used.is_champion, s.basis, used.scored, used.mean_pd,
    s.run_id, s.code_version, s.scored_at,
    m.month AS trained_in, m.training_months, m.training_rows, m.training_defaulters,
    m.manifest_sha256, m.seed, m.fit_seconds, m.attributes, m.calibrator, m.cut_off
FROM used
INNER JOIN scorings AS s ON s.month = $month
LEFT JOIN models AS m ON m.model = used.model AND m.version = s.version
ORDER BY used.is_champion DESC, used.model
