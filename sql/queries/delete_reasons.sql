-- Empties a month's partition of reasons. Owner: tasks/score.py.
DELETE FROM reasons
WHERE month = $month
