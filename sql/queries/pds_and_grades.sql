-- A model's PDs of a month, and the place of each grade in a list of them, each client by a hash of 64 bits.
-- Grain: client, as a rule in the order in which they were scored: that of every model. Owner: tasks/assess.py.
SELECT
    hash(client_id) AS client,
    pd,
    (list_position($grades, grade) - 1)::UTINYINT AS grade
FROM score_rows
WHERE month = $month AND model = $model
