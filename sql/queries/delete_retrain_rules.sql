-- Makes room for the month's rules. Owner: tasks/develop.py.
DELETE FROM retrain_rules
WHERE month = $month
