-- Empties a month's part. Owner: tasks/assess.py.
DELETE FROM fairness
WHERE month = $month
