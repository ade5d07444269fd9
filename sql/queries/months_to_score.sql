-- Loaded months up to the given one that it scores: itself, those that have no scores yet, and those that had no
-- champion when they were decided and whose first one is this month's: developed again, it scores them again.
-- Grain: month. Owner: tasks/score.py.
SELECT f.month
FROM files AS f
WHERE
    f.kind = 'clients' AND f.is_current
    AND f.month <= $month
    AND (
        f.month = $month
        OR f.month NOT IN (SELECT s.month FROM scorings AS s)
        OR f.month NOT IN (
            SELECT e.month
            FROM files AS e
            INNER JOIN decisions AS d ON d.month >= e.month AND d.month < $month
            WHERE d.champion IS NOT NULL
        )
    )
ORDER BY f.month
