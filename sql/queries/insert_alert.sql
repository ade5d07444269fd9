-- One rule as a run evaluated it. Owner: tasks/alerts.py.
INSERT INTO alerts BY NAME
SELECT
    $run_id AS run_id,
    $month AS month,
    $position::INTEGER AS position,
    $rule AS rule,
    $severity AS severity,
    $state AS state,
    $about_month::VARCHAR AS about_month,
    $value::DOUBLE AS value,
    $threshold::DOUBLE AS threshold,
    $message AS message,
    $remedy AS remedy,
    $evaluated_at::TIMESTAMP AS evaluated_at
