-- Metrics, from the registered frame `results`. Owner: tasks/develop.py, tasks/monitor.py.
INSERT INTO performance BY NAME
SELECT * FROM results
