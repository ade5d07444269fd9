-- Fills a month's partition of reasons from Parquet. Owner: tasks/score.py.
INSERT INTO reasons BY NAME
SELECT
    *,
    $month AS month,
    $version AS version
FROM read_parquet($path)
