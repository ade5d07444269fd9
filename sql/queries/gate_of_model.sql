-- The checks of the gate that a challenger was held to. Grain: check. Owner: tasks/registry.py.
SELECT
    name,
    value,
    low,
    high,
    threshold,
    passed,
    reason,
    champion,
    champion_version,
    sample_month,
    clients,
    defaulters
FROM gate_checks
WHERE model = $model AND version = $version
ORDER BY position
