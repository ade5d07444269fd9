-- Which alerts are raised, by the newest run of each month, the critical ones first?
SELECT
    month,
    severity,
    rule,
    about_month,
    round(value, 4) AS value,
    threshold,
    message
FROM current_alerts
WHERE state = 'raised'
ORDER BY month DESC, CASE severity WHEN 'critical' THEN 1 WHEN 'warning' THEN 2 ELSE 3 END, position
