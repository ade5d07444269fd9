-- Of a month, from the registered frame `results`. Owner: tasks/assess.py.
INSERT INTO segments BY NAME
SELECT * FROM results
