-- Fills a month's partition of scores from Parquet; what its rows have in common, insert_scoring.sql tells.
-- Owner: tasks/score.py.
INSERT INTO score_rows BY NAME
SELECT
    *,
    $month AS month
FROM read_parquet($paths)
