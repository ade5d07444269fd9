-- The list of reasons. Grain: one row per code. Owner: tasks.reports.
SELECT code, reason, meaning
FROM reason_texts
ORDER BY code
