-- The list of reasons of this version of the code, from the registered frame `results`. Owner: tasks/score.py.
DELETE FROM reason_texts;
INSERT INTO reason_texts BY NAME
SELECT * FROM results
