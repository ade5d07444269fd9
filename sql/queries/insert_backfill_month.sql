-- Writes down what became of one month of a backfill. Owner: tasks/ledger.py.
INSERT INTO backfill_months BY NAME
SELECT
    $backfill_id AS backfill_id,
    $month AS month,
    $outcome AS outcome,
    $message AS message,
    $seconds::DOUBLE AS seconds,
    $ended_at::TIMESTAMP AS ended_at
