-- Every rule as the newest run of its month found it ($month NULL: all months). Grain: month and rule, newest month
-- first, raised ones before others, by severity. Owner: tasks/alerts.py, tasks.reports.
SELECT
    month,
    run_id,
    position,
    rule,
    severity,
    state,
    about_month,
    value,
    threshold,
    message,
    remedy,
    evaluated_at,
    told
FROM current_alerts
WHERE $month::VARCHAR IS NULL OR month = $month
ORDER BY
    month DESC,
    CASE state WHEN 'raised' THEN 1 WHEN 'not run' THEN 2 ELSE 3 END,
    CASE severity WHEN 'critical' THEN 1 WHEN 'warning' THEN 2 ELSE 3 END,
    position
