-- What all rows of a month's scores share: a scoring replaces them whole. Grain: one row, none without scores.
-- Owner: sql/publish.py.
SELECT version, basis, run_id, file_sha256, code_version, scored_at
FROM scores
WHERE month = $month
LIMIT 1  -- noqa: AM09
