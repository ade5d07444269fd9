-- Client-months with their outcomes, of the given months; beyond the cap the same sample every time.
-- Grain: month and client. Owner: tasks/develop.py.
WITH known AS (
    SELECT
        c.* EXCLUDE (row_number, file_sha256),
        o.defaulted,
        md5(concat_ws('|', $seed, c.month, c.client_id)) AS lot
    FROM clients AS c
    INNER JOIN outcomes AS o ON c.month = o.month AND c.client_id = o.client_id
    WHERE list_contains($months, c.month)
),

drawn AS (
    SELECT *
    FROM known
    ORDER BY lot
    LIMIT $max_rows
)

SELECT * EXCLUDE (lot)
FROM drawn
ORDER BY month, client_id
