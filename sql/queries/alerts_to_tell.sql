-- Raised alerts that hold now and whose telling is not over: it failed, or the run was killed before it. Grain: month
-- and rule. Owner: tasks/notify.py.
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
WHERE state = 'raised' AND (told IS NULL OR told = 'failed')
ORDER BY month, CASE severity WHEN 'critical' THEN 1 WHEN 'warning' THEN 2 ELSE 3 END, position
