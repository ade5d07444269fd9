-- The champion in force after each month: named by its decision, or by a person's newer choice; oldest first.
-- Grain: one row per month that has one. Owner: tasks.reports.
SELECT
    month,
    arg_max(model, decided_at) AS model,
    arg_max(version, decided_at) AS version
FROM named_champions
GROUP BY month
ORDER BY month
