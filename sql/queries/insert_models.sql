-- A set of models, from the registered frame `results`. Owner: tasks/develop.py.
INSERT INTO models BY NAME
SELECT * FROM results
