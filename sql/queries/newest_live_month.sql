-- The newest month before the given one that a set's models scored without knowing anything of it; with $known, the
-- newest whose outcomes are known. Grain: at most one row. Owner: tasks/decide.py.
SELECT month
FROM scorings
WHERE
    month < $month AND version = $version AND basis = 'live'
    AND (NOT $known OR month IN (SELECT o.month FROM outcomes AS o))
ORDER BY month DESC
LIMIT 1
