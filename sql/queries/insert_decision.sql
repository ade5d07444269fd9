-- The month's decision. Owner: tasks/develop.py.
INSERT INTO decisions BY NAME
SELECT
    $month AS month,
    $verdict AS verdict,
    $rule AS rule,
    $value AS value,
    $threshold AS threshold,
    $reason AS reason,
    $champion::VARCHAR AS champion,
    $version::VARCHAR AS version,
    $run_id AS run_id,
    $decided_at::TIMESTAMP AS decided_at
