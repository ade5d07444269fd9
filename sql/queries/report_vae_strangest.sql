-- The clients whom the one-class VAE finds strangest, of all that it scored, with what the champion says of them.
-- Grain: client, strangest first. Owner: tasks.reports.
WITH strangest AS (
    SELECT client_id, score AS strangeness
    FROM scores
    WHERE month = $month AND model = 'vae_anomaly'
    ORDER BY score DESC, client_id
    LIMIT $limit
)
SELECT
    a.client_id, a.strangeness, s.pd, s.grade, s.flagged, o.defaulted,
    c.* EXCLUDE (month, client_id, row_number, file_sha256)
FROM strangest AS a
INNER JOIN clients AS c ON c.month = $month AND c.client_id = a.client_id
LEFT JOIN scores AS s ON s.month = $month AND s.client_id = a.client_id AND s.is_champion
LEFT JOIN outcomes AS o ON o.month = $month AND o.client_id = a.client_id
ORDER BY a.strangeness DESC, a.client_id
