-- A model's PDs of a month. Grain: client, in no order. Owner: tasks/monitor.py.
SELECT pd
FROM score_rows
WHERE month = $month AND model = $model
