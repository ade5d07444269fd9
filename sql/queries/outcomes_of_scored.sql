-- Outcomes of the clients whom a month's champion scored, where known, each client by a hash of 64 bits.
-- Grain: client, in no order. Owner: tasks/assess.py.
SELECT
    hash(s.client_id) AS client,
    o.defaulted
FROM score_rows AS s
LEFT JOIN outcomes AS o ON s.month = o.month AND s.client_id = o.client_id
WHERE s.month = $month AND s.is_champion
