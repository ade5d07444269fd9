-- Forgets the results of one file, before they are written again. Owner: tasks/load.py.
DELETE FROM expectation_results
WHERE month = $month AND kind = $kind AND file_sha256 = $sha256
