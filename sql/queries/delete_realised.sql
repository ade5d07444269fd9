-- Empties a month's realised metrics. Owner: tasks/monitor.py.
DELETE FROM performance
WHERE month = $month AND sample = 'realised'
