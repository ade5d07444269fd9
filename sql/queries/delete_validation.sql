-- Empties a month's part. Owner: tasks/assess.py.
DELETE FROM validation
WHERE month = $month
