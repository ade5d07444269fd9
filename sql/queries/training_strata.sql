-- How many clients of a month have an outcome, by outcome and by the range that their lot falls into.
-- A lot is a seeded hash of month and client: evenly spread, and the same wherever and however it is computed.
-- Grain: outcome and lot range (4,096 of them). Owner: tasks/develop.py.
SELECT
    o.defaulted,
    md5_number_lower(concat_ws('|', $seed, c.month, c.client_id)) >> 52 AS lot_range,
    count(*) AS rows
FROM clients AS c
INNER JOIN outcomes AS o ON c.client_id = o.client_id
WHERE c.month = $month AND o.month = $month
GROUP BY ALL
ORDER BY ALL
