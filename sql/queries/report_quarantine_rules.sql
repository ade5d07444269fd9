-- Rows set aside in the files in use, counted by the first rule that each broke.
-- Grain: one row per kind, rule and column. Owner: tasks.reports.
SELECT q.kind, q.rule, q.column_name, count(*) AS row_count
FROM quarantine AS q
SEMI JOIN files AS f
    ON f.file_sha256 = q.file_sha256 AND f.month = q.month AND f.kind = q.kind AND f.is_current
WHERE q.month = $month
GROUP BY ALL
ORDER BY q.kind, row_count DESC, q.rule, q.column_name
