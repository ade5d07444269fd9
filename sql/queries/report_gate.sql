-- Every check of the promotion gate ($month NULL: all months). Grain: one row per month of development, model
-- and check, in the order of the checks. Owner: tasks.reports.
SELECT
    month, position, model, version, champion, champion_version, sample_month, clients, defaulters,
    name, value, low, high, threshold, passed, reason
FROM gate_checks
WHERE $month::VARCHAR IS NULL OR month = $month
ORDER BY month, version, model, position
