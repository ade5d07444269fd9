-- A change of champion. Owner: tasks/develop.py, tasks/registry.py.
INSERT INTO promotions BY NAME
SELECT
    $promotion_id AS promotion_id,
    $month AS month,
    $action AS action,
    $model AS model,
    $version AS version,
    $from_model::VARCHAR AS from_model,
    $from_version::VARCHAR AS from_version,
    $reason AS reason,
    $decided_by AS decided_by,
    $decided_at::TIMESTAMP AS decided_at,
    $run_id::VARCHAR AS run_id
