-- Which rules set rows aside, and what did the values look like?
SELECT
    month,
    kind,
    rule,
    column_name,
    count(*) AS rows,
    min(value) AS example
FROM quarantine
GROUP BY month, kind, rule, column_name
ORDER BY month, rows DESC, rule
