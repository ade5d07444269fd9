-- The month's client file, and the newest outcome file of a month before it or of its own. Grain: file.
-- Owner: tasks/alerts.py.
SELECT
    kind,
    month,
    received,
    quarantined
FROM files
WHERE is_current AND ((kind = 'clients' AND month = $month) OR (kind = 'outcomes' AND month <= $month))
QUALIFY row_number() OVER (PARTITION BY kind ORDER BY month DESC) = 1
ORDER BY kind
