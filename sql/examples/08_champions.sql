-- Which model was champion from when, and who or what put it there?
SELECT
    month,
    last_month,
    model || '@' || version AS champion,
    action,
    decided_by,
    reason
FROM champions
ORDER BY month
