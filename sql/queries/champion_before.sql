-- The champion in force before a month: named by the newest earlier decision, or by a person's choice that is
-- newer than the decision of its month. Grain: at most one row. Owner: tasks/decide.py.
WITH named AS (
    SELECT
        champion AS model,
        version,
        month,
        decided_at
    FROM decisions
    WHERE champion IS NOT NULL
    UNION ALL
    SELECT
        model,
        version,
        month,
        decided_at
    FROM promotions
    WHERE action IN ('promote', 'rollback')
)

SELECT
    model,
    version,
    month
FROM named
WHERE month < $month
ORDER BY month DESC, decided_at DESC
LIMIT 1
