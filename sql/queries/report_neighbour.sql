-- The newest month before $month whose clients are scored. Grain: at most one row. Owner: tasks.reports.
SELECT max(month) AS month
FROM scorings
WHERE champion IS NOT NULL AND month < $month
HAVING max(month) IS NOT NULL
