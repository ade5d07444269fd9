-- The grades of a month's scores. Grain: grade. Owner: tasks/assess.py.
SELECT DISTINCT grade
FROM score_rows
WHERE month = $month AND grade IS NOT NULL
ORDER BY grade
