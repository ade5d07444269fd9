-- What a month's scores were made with: equal to the present means nothing to score.
-- Grain: version, file and code. Owner: tasks/score.py.
SELECT
    version,
    file_sha256,
    code_version,
    any_value(model) FILTER (WHERE is_champion) AS champion,
    count(*) AS rows,
    any_value(basis) AS basis
FROM scores
WHERE month = $month
GROUP BY version, file_sha256, code_version
