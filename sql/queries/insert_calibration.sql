-- Of a month, from the registered frame `results`. Owner: tasks/assess.py.
INSERT INTO calibration BY NAME
SELECT * FROM results
