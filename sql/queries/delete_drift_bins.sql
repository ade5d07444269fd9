-- Empties a month's partition. Owner: tasks/monitor.py.
DELETE FROM drift_bins
WHERE month = $month
