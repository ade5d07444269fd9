-- Everything that named a champion, in the order in which it counts. Grain: month and moment.
-- Owner: tasks/registry.py.
SELECT
    month,
    action,
    model,
    version,
    reason,
    decided_at
FROM named_champions
ORDER BY month, decided_at
