-- Expectations of severity warning on the month's client file. Grain: one row. Owner: tasks/alerts.py.
SELECT
    count(*) AS expectations,
    count(*) FILTER (WHERE e.outcome = 'failed') AS failed,
    coalesce(list(DISTINCT e.rule ORDER BY e.rule) FILTER (WHERE e.outcome = 'failed'), []) AS rules
FROM expectation_results AS e
SEMI JOIN files AS f
    ON e.file_sha256 = f.file_sha256 AND e.month = f.month AND e.kind = f.kind AND f.is_current
WHERE e.month = $month AND e.kind = 'clients' AND e.severity = 'warning'
