-- How close did the performance that was estimated before outcomes come to the one that they showed?
SELECT
    e.month,
    e.model,
    e.version,
    e.metric,
    round(e.value, 4) AS estimated,
    round(r.value, 4) AS realised,
    round(e.value - r.value, 4) AS off_by
FROM performance AS e
LEFT JOIN performance AS r
    ON
        e.month = r.month
        AND e.model = r.model
        AND e.version = r.version
        AND e.metric = r.metric
        AND r.sample = 'realised'
WHERE e.sample = 'estimated'
ORDER BY e.month, e.model, e.metric
