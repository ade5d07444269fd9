-- The month's newest retrain-or-reuse decision. Grain: at most one row. Owner: tasks.reports.
SELECT verdict, rule, value, threshold, reason, champion, version, run_id, decided_at
FROM decisions
WHERE month = $month
ORDER BY decided_at DESC, run_id DESC
LIMIT 1
