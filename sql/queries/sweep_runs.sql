-- Marks runs that a kill left behind. Called under the lock, so that none of them is alive. Owner: tasks/ledger.py.
UPDATE runs
SET
    status = 'killed',
    ended_at = $ended_at,
    message = 'the process ended without a word; found at the next start'
WHERE status = 'running'
