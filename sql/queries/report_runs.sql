-- The runs of the month, oldest first. Grain: one row per run. Owner: tasks.reports.
SELECT run_id, command, status, started_at, ended_at, code_version, message, backfill_id
FROM runs
WHERE month = $month
ORDER BY started_at, run_id
