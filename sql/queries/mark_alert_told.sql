-- What the telling of one alert came to. Owner: tasks/notify.py.
UPDATE alerts
SET told = $told
WHERE run_id = $run_id AND month = $month AND rule = $rule
