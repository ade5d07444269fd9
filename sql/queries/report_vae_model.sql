-- The one-class VAE of the set that the month's champion belongs to. Grain: at most one row. Owner: tasks.reports.
SELECT DISTINCT m.version, m.manifest_sha256, m.training_months, m.training_rows
FROM models AS m
INNER JOIN scores AS s ON s.version = m.version
WHERE s.month = $month AND s.is_champion AND m.model = 'vae_anomaly'
