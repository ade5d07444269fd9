-- What the month's decision came to: its verdict, whether a retraining failed, and whether the champion was found
-- unusable, with the reason. Grain: at most one row. Owner: tasks/alerts.py.
SELECT
    d.verdict,
    -- The words of tasks/develop.py; a person's own reason might hold them too.
    d.verdict <> 'retrain' AND d.rule <> 'a person''s choice' AND contains(d.reason, ' It failed: ') AS failed,
    r.met AS unusable,
    r.reason AS usability
FROM decisions AS d
LEFT JOIN retrain_rules AS r ON d.month = r.month AND r.rule = 'champion unusable'
WHERE d.month = $month
