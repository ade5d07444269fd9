-- At most $limit of the champion's scored clients with attributes, PD and outcome (NULL while unknown).
-- The order is that of a seeded digest of the client ID: random with respect to the data, and the same
-- on every machine whatever the number of threads. Grain: one row per client. Owner: tasks.reports.
SELECT c.* EXCLUDE (month, client_id, row_number, file_sha256), s.score, s.pd, o.defaulted
FROM scores AS s
INNER JOIN clients AS c ON c.month = $month AND c.client_id = s.client_id
LEFT JOIN outcomes AS o ON o.month = $month AND o.client_id = s.client_id
WHERE s.month = $month AND s.is_champion AND ($known_only = FALSE OR o.defaulted IS NOT NULL)
ORDER BY md5($seed::VARCHAR || ':' || s.client_id), s.client_id
LIMIT $limit
