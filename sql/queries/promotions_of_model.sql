-- When and why a model became champion. Grain: change. Owner: tasks/registry.py.
SELECT
    month,
    action,
    reason,
    decided_by,
    decided_at
FROM promotions
WHERE model = $model AND version = $version
ORDER BY month, decided_at
