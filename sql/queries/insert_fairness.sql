-- Of a month, from the registered frame `results`. Owner: tasks/assess.py.
INSERT INTO fairness BY NAME
SELECT * FROM results
