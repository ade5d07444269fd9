-- Writes down how a run ended. Owner: tasks/ledger.py.
UPDATE runs
SET
    status = $status,
    ended_at = $ended_at::TIMESTAMP,
    message = $message,
    fingerprint = $fingerprint::VARCHAR,
    facts = $facts::VARCHAR
WHERE run_id = $run_id
