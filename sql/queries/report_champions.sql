-- The champion in force after each month: named by its decision, or by a person's newer choice; oldest first.
-- Grain: one row per month that has one. Owner: tasks.reports.
WITH named AS (
    SELECT month, champion AS model, version, decided_at FROM decisions WHERE champion IS NOT NULL
    UNION ALL
    SELECT month, model, version, decided_at FROM promotions WHERE action IN ('promote', 'rollback')
)
SELECT month, arg_max(model, decided_at) AS model, arg_max(version, decided_at) AS version
FROM named
GROUP BY month
ORDER BY month
