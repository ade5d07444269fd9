-- Every retrain rule that was evaluated for the month, in the order of precedence; `met` is NULL where it could
-- not be evaluated. Grain: one row per rule. Owner: tasks.reports.
SELECT position, rule, value, threshold, met, reason
FROM retrain_rules
WHERE month = $month
ORDER BY position
