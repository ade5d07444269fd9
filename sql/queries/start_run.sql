-- Writes down that a run began. Owner: tasks/ledger.py.
INSERT INTO runs BY NAME
SELECT
    $run_id AS run_id,
    $month AS month,
    $command AS command,
    'running' AS status,
    $started_at::TIMESTAMP AS started_at,
    $code_version AS code_version,
    $backfill_id::VARCHAR AS backfill_id,
    $pid AS pid
