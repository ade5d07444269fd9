-- The champion's PDs of a month and whom they flag, each client by a hash of 64 bits. Grain: client, as a rule in the
-- order in which they were scored. Owner: tasks/assess.py.
SELECT
    hash(client_id) AS client,
    pd,
    flagged
FROM score_rows
WHERE month = $month AND is_champion
