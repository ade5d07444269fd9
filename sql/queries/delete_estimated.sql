-- Empties a month's estimated metrics. Owner: tasks/monitor.py.
DELETE FROM performance
WHERE month = $month AND sample = 'estimated'
