-- Marks backfills that a kill left open, but for the one that is under way. Called under the lock.
-- Owner: tasks/ledger.py.
UPDATE backfills
SET
    ended_at = $ended_at::TIMESTAMP,
    result = 'the process ended without a word; found at the next start'
WHERE ended_at IS NULL AND backfill_id IS DISTINCT FROM $backfill_id::VARCHAR
