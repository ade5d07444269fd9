-- What a month's scores were made by, once for all its rows. Owner: tasks/score.py.
INSERT INTO scorings BY NAME
SELECT
    $month AS month,
    $champion AS champion,
    $version AS version,
    $basis AS basis,
    $run_id AS run_id,
    $sha256 AS file_sha256,
    $code_version AS code_version,
    $scored_at::TIMESTAMP AS scored_at
