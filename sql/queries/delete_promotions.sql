-- Makes room for the month's changes of champion by runs. What a person's choice answered to stays on record,
-- unless the run itself has something new to say. Owner: tasks/develop.py.
DELETE FROM promotions
WHERE
    month = $month
    AND action IN ('first', 'gate', 'replacement')
    AND (
        $replaced
        OR month NOT IN (SELECT p.month FROM promotions AS p WHERE p.action IN ('promote', 'rollback'))
    )
