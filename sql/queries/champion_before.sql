-- The champion in force before a month: named by the newest earlier decision, or by a person's choice that is
-- newer than the decision of its month. Grain: at most one row. Owner: tasks/decide.py.
SELECT
    model,
    version,
    month
FROM named_champions
WHERE month < $month
ORDER BY month DESC, decided_at DESC
LIMIT 1
