-- Empties a month's part. Owner: tasks/assess.py.
DELETE FROM segments
WHERE month = $month
