-- Everything that named a champion, in the order in which it counts: decisions, and the choices of persons.
-- Grain: month and moment. Owner: tasks/registry.py.
SELECT
    month,
    'run' AS action,
    champion AS model,
    version,
    reason,
    decided_at
FROM decisions
WHERE champion IS NOT NULL
UNION ALL
SELECT
    month,
    action,
    model,
    version,
    reason,
    decided_at
FROM promotions
WHERE action IN ('promote', 'rollback')
ORDER BY month, decided_at
