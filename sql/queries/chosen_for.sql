-- The champion that a person chose from a month on: the newest choice counts. Grain: at most one row.
-- Owner: tasks/decide.py.
SELECT
    model,
    version,
    action,
    reason
FROM promotions
WHERE month = $month AND action IN ('promote', 'rollback')
ORDER BY decided_at DESC
LIMIT 1
