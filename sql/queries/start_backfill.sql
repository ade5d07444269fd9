-- Writes down that a backfill began, with its range and reason. Owner: tasks/ledger.py.
INSERT INTO backfills BY NAME
SELECT
    $backfill_id AS backfill_id,
    $first AS first_month,
    $last AS last_month,
    $reason AS reason,
    $as_of AS as_of,
    $requested_by AS requested_by,
    $started_at::TIMESTAMP AS started_at
