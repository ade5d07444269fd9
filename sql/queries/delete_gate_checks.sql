-- Makes room for the month's checks of the gate. What a person's choice answered to stays on record, unless the
-- run itself has something new to say. Owner: tasks/develop.py.
DELETE FROM gate_checks
WHERE
    month = $month
    AND (
        $replaced
        OR month NOT IN (SELECT p.month FROM promotions AS p WHERE p.action IN ('promote', 'rollback'))
    )
