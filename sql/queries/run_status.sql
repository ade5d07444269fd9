-- How a run stands. Grain: at most one row. Owner: tasks/ledger.py.
SELECT status
FROM runs
WHERE run_id = $run_id AND status = 'done'
