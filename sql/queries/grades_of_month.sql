-- The grades of a month's scores. Grain: grade. Owner: tasks/assess.py.
SELECT DISTINCT grade
FROM scores
WHERE month = $month AND grade IS NOT NULL
ORDER BY grade
