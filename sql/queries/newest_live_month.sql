-- The newest month before the given one that a model scored without knowing anything of it; with $known, the
-- newest whose outcomes are known. Grain: at most one row. Owner: tasks/decide.py.
-- Months first: a join of all their clients would hold these in memory.
WITH live AS MATERIALIZED (
    SELECT DISTINCT month
    FROM scores
    WHERE month < $month AND model = $model AND version = $version AND basis = 'live'
),

realised AS MATERIALIZED (
    SELECT DISTINCT month
    FROM outcomes
    WHERE $known
)

SELECT month
FROM live
WHERE NOT $known OR month IN (SELECT r.month FROM realised AS r)
ORDER BY month DESC
LIMIT 1
