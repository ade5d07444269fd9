-- The model behind a month's champion scores. Grain: at most one row. Owner: tasks/monitor.py.
SELECT DISTINCT
    s.model,
    s.version,
    m.manifest_sha256
FROM scores AS s
INNER JOIN models AS m ON s.model = m.model AND s.version = m.version
WHERE s.month = $month AND s.is_champion
