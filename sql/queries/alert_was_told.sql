-- Whether a receiver knows of an alert: it was sent one of the same month, rule, severity and topic, and since then the
-- rule was not found clear or of another severity. A file that is overdue is one topic, whichever month's run says it.
-- Grain: one row. Owner: tasks/notify.py.
SELECT count(*) > 0
FROM alert_messages AS m
WHERE
    m.outcome = 'sent' AND m.receiver = $receiver AND m.rule = $rule AND m.severity = $severity AND m.topic = $topic
    AND (m.month = $month OR m.rule = 'overdue_file')
    AND NOT EXISTS (
        SELECT 1
        FROM alerts AS a
        WHERE
            a.month = m.month AND a.rule = m.rule AND a.evaluated_at > m.told_at
            AND (a.state = 'clear' OR (a.state = 'raised' AND a.severity <> m.severity))
    )
