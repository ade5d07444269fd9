-- The one-class VAE of the set that the month's champion belongs to. Grain: at most one row. Owner: tasks.reports.
SELECT m.version, m.manifest_sha256, m.training_months, m.training_rows
FROM models AS m
INNER JOIN scorings AS s ON s.version = m.version
WHERE s.month = $month AND m.model = 'vae_anomaly'
