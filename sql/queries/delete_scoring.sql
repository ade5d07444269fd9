-- Forgets what a month's scores were made by. Owner: tasks/score.py.
DELETE FROM scorings
WHERE month = $month
