-- Empties a month's partition of outcomes. Owner: tasks/load.py.
DELETE FROM outcomes
WHERE month = $month
