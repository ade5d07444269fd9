-- Writes down how a backfill ended. Owner: tasks/ledger.py.
UPDATE backfills
SET
    ended_at = $ended_at::TIMESTAMP,
    result = $result
WHERE backfill_id = $backfill_id
