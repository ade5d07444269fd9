-- Fills a month's partition of outcomes. Owner: tasks/load.py.
INSERT INTO outcomes BY NAME
SELECT
    $month AS month,
    client_id,
    defaulted,
    $source AS source,
    $sha256 AS file_sha256
FROM read_parquet($path)
