-- The month's validation result for the files in use. Grain: one row per file and expectation.
-- Owner: tasks.reports.
SELECT
    e.kind, e.file_sha256, e.position, e.rule, e.expectation, e.column_name, e.severity, e.meaning,
    e.outcome, e.evaluated, e.unexpected, e.examples, e.reason
FROM expectation_results AS e
SEMI JOIN files AS f
    ON f.file_sha256 = e.file_sha256 AND f.month = e.month AND f.kind = e.kind AND f.is_current
WHERE e.month = $month
ORDER BY e.kind, array_position(['critical', 'warning', 'info'], e.severity), e.position, e.rule
