-- Fills a month's partition of scores from Parquet. Owner: tasks/score.py.
INSERT INTO scores BY NAME
SELECT
    *,
    $month AS month,
    $version AS version,
    $basis AS basis,
    $run_id AS run_id,
    $sha256 AS file_sha256,
    $code_version AS code_version,
    $scored_at::TIMESTAMP AS scored_at
FROM read_parquet($paths)
