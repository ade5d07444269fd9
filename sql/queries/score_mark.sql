-- What a month's scores were written by; all its rows say the same. Grain: one row, none without scores.
-- Owner: sql/publish.py.
SELECT md5(concat_ws('/', run_id, scored_at)) AS mark
FROM scores
WHERE month = $month
LIMIT 1  -- noqa: AM09
