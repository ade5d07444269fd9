-- The champion in force before a month: that of the newest earlier decision which named one.
-- Grain: at most one row. Owner: tasks/decide.py.
SELECT
    champion,
    version,
    month
FROM decisions
WHERE month < $month AND champion IS NOT NULL
ORDER BY month DESC
LIMIT 1
