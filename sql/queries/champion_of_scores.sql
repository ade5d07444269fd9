-- The model behind a month's champion scores. Grain: at most one row. Owner: tasks/monitor.py.
SELECT
    s.champion AS model,
    s.version,
    m.manifest_sha256
FROM scorings AS s
INNER JOIN models AS m ON s.champion = m.model AND s.version = m.version
WHERE s.month = $month
