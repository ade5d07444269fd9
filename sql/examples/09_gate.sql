-- What did the promotion gate say, month by month?
SELECT
    month,
    model || '@' || version AS challenger,
    name AS check_name,
    round(value, 4) AS value,
    round(threshold, 4) AS threshold,
    passed,
    reason
FROM gate_checks
ORDER BY month, position
