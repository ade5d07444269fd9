-- One stage of one run. Owner: tasks/ledger.py.
INSERT INTO stage_timings BY NAME
SELECT
    $run_id AS run_id,
    $month AS month,
    $stage AS stage,
    $seconds AS seconds,
    $rows::BIGINT AS rows,
    $peak_rss_bytes::BIGINT AS peak_rss_bytes
