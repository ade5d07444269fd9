-- Loaded months up to the given one that have no scores yet, and the given month itself.
-- Grain: month. Owner: tasks/score.py.
SELECT month
FROM files
WHERE
    kind = 'clients' AND is_current
    AND (
        month = $month
        OR (month < $month AND month NOT IN (SELECT DISTINCT s.month FROM scores AS s))
    )
ORDER BY month
