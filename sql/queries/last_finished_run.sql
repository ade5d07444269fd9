-- The newest run of a month that reached its end. Grain: at most one row. Owner: tasks/ledger.py.
SELECT
    run_id,
    ended_at,
    fingerprint
FROM runs
WHERE month = $month AND status = 'done'
ORDER BY ended_at DESC
LIMIT 1
