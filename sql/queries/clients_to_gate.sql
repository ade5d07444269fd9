-- At most $limit of a month's clients, to hold a challenger's scores against its reference. The order is that of
-- a seeded digest of the client ID: random with respect to the data, the same on every machine. Grain: client.
-- Owner: tasks/gate.py.
SELECT * EXCLUDE (month, row_number, file_sha256)
FROM clients
WHERE month = $month
ORDER BY md5($seed::VARCHAR || ':' || client_id), client_id
LIMIT $limit
