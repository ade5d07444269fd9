-- Empties a month's partition of scores; delete_scoring.sql forgets what made them. Owner: tasks/score.py.
DELETE FROM score_rows
WHERE month = $month
