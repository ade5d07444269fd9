-- Fills a month's partition from the registered frame `results`. Owner: tasks/monitor.py.
INSERT INTO drift BY NAME
SELECT * FROM results
