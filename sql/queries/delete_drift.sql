-- Empties a month's partition. Owner: tasks/monitor.py.
DELETE FROM drift
WHERE month = $month
