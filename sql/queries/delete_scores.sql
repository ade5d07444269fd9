-- Empties a month's partition of scores. Owner: tasks/score.py.
DELETE FROM scores
WHERE month = $month
