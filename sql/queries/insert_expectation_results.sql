-- The result of each expectation on one file, from the registered frame `results`. Owner: tasks/load.py.
INSERT INTO expectation_results BY NAME
SELECT
    *,
    $month AS month,
    $kind AS kind,
    $sha256 AS file_sha256
FROM results
