-- A month's clients whose champion's PD in freshly written scores reaches the given one. Grain: client.
-- Owner: tasks/score.py.
SELECT c.* EXCLUDE (month, file_sha256)
FROM clients AS c
INNER JOIN read_parquet($path) AS s ON c.client_id = s.client_id
WHERE c.month = $month AND s.is_champion AND s.pd >= $least_pd
