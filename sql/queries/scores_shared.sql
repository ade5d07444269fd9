-- What all rows of a month's scores share. Grain: one row, none without scores. Owner: sql/publish.py.
SELECT version, basis, run_id, file_sha256, code_version, scored_at
FROM scorings
WHERE month = $month
