-- The newest month before the given one that a model scored without knowing anything of it; with $known, the
-- newest whose outcomes are known. Grain: at most one row. Owner: tasks/decide.py.
SELECT DISTINCT s.month
FROM scores AS s
WHERE
    s.month < $month AND s.model = $model AND s.version = $version AND s.basis = 'live'
    AND (NOT $known OR s.month IN (SELECT o.month FROM outcomes AS o))
ORDER BY s.month DESC
LIMIT 1
