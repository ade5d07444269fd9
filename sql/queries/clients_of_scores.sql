-- The clients whom a model scored in a month, each by a hash of 64 bits. Grain: client, as a rule in the order in
-- which they were scored. Owner: tasks/assess.py.
SELECT hash(client_id) AS client
FROM score_rows
WHERE month = $month AND model = $model
