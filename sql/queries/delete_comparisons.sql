-- Empties a month's part. Owner: tasks/assess.py.
DELETE FROM comparisons
WHERE month = $month
