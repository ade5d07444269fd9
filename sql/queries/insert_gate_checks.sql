-- The checks of the gate, from the registered frame `results`. Owner: tasks/develop.py.
INSERT INTO gate_checks BY NAME
SELECT * FROM results
