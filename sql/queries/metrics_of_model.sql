-- A model's metrics, held out and out of time. Grain: sample, month and metric. Owner: tasks/registry.py.
SELECT
    sample,
    month,
    basis,
    clients,
    defaulters,
    metric,
    value,
    reason
FROM performance
WHERE model = $model AND version = $version
ORDER BY sample, month, metric
