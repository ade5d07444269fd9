-- The outcomes of a month's clients, each client by a hash of 64 bits. Grain: client, in the order in which they are
-- stored. Owner: tasks/assess.py.
SELECT
    hash(client_id) AS client,
    defaulted
FROM outcomes
WHERE month = $month
