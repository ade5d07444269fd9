-- A model's PDs of a month. Grain: client, in no order. Owner: tasks/monitor.py.
SELECT pd
FROM scores
WHERE month = $month AND model = $model
