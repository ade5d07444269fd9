-- What a month's scores were made with: equal to the present means nothing to score. Grain: at most one row.
-- Owner: tasks/score.py.
SELECT
    version,
    file_sha256,
    code_version,
    champion,
    (SELECT count(*) FROM score_rows AS r WHERE r.month = $month) AS rows,
    basis
FROM scorings
WHERE month = $month
