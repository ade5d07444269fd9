-- Which rules set rows aside, and what did the values look like?
SELECT
    month,
    kind,
    rule,
    column_name,
    count(*) AS set_aside,
    min(value) AS example
FROM quarantine
GROUP BY month, kind, rule, column_name
ORDER BY month, set_aside DESC, rule
