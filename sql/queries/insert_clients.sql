-- Fills a month's partition from the typed Parquet of accepted rows. Owner: tasks/load.py.
INSERT INTO clients BY NAME
SELECT
    *,
    $month AS month,
    $sha256 AS file_sha256
FROM read_parquet($path)
