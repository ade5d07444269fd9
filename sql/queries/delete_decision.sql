-- Makes room for the month's decision. Owner: tasks/develop.py.
DELETE FROM decisions
WHERE month = $month
