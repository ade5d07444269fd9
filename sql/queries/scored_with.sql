-- The settings that a month's scores were made with. Grain: at most one row. Owner: tasks/score.py.
SELECT made_from
FROM derived
WHERE month = $month AND product = 'scores'
