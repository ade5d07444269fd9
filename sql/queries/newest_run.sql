-- The run that began last. Grain: at most one row. Owner: tasks/notify.py.
SELECT
    run_id,
    month,
    command,
    status,
    started_at,
    ended_at
FROM runs
ORDER BY started_at DESC, run_id DESC
LIMIT 1
