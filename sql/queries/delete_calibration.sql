-- Empties a month's part. Owner: tasks/assess.py.
DELETE FROM calibration
WHERE month = $month
