-- The first rows set aside in the files in use, in file order. Grain: one row per file row, $limit at most.
-- Owner: tasks.reports.
SELECT q.kind, q.row_number, q.client_id, q.rule, q.column_name, q.value, q.raw_row
FROM quarantine AS q
SEMI JOIN files AS f
    ON f.file_sha256 = q.file_sha256 AND f.month = q.month AND f.kind = q.kind AND f.is_current
WHERE q.month = $month
ORDER BY q.kind, q.row_number
LIMIT $limit
