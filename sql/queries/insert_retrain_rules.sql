-- The month's rules, from the registered frame `results`. Owner: tasks/develop.py.
INSERT INTO retrain_rules BY NAME
SELECT * FROM results
