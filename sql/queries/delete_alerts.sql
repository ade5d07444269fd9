-- What a run had stored of its alerts before its stage was tried again. Owner: tasks/alerts.py.
DELETE FROM alerts
WHERE run_id = $run_id AND month = $month
