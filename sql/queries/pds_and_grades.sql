-- A model's PDs of a month, and the place of each grade in a list of them. Grain: client. Owner: tasks/assess.py.
SELECT
    pd,
    (list_position($grades, grade) - 1)::UTINYINT AS grade
FROM score_rows
WHERE month = $month AND model = $model
ORDER BY client_id
