-- The newest run of a month that scored it and reached its end. Grain: at most one row. Owner: tasks/ledger.py.
SELECT
    run_id,
    ended_at,
    fingerprint,
    facts
FROM runs
WHERE month = $month AND status = 'done' AND command != 'outcomes'
ORDER BY ended_at DESC
LIMIT 1
