-- At most $limit of the champion's scored clients with their attributes, in the order of a seeded digest of the
-- client ID: random with respect to the data, and the same whatever the number of threads. Outcomes are not joined:
-- DuckDB 2.0 may forget a LIMIT above a LEFT JOIN of a table that holds nothing of the month. Grain: client.
-- Owner: tasks.reports.
WITH chosen AS MATERIALIZED (
    SELECT client_id, md5($seed::VARCHAR || ':' || client_id) AS place
    FROM scores
    WHERE month = $month AND is_champion
    ORDER BY place, client_id
    LIMIT $limit
)
SELECT c.* EXCLUDE (month, client_id, row_number, file_sha256)
FROM chosen AS s
INNER JOIN clients AS c ON c.month = $month AND c.client_id = s.client_id
ORDER BY s.place, s.client_id
