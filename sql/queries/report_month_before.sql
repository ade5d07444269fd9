-- The newest month before $month that has a file or a run. Grain: at most one row. Owner: tasks.reports.
SELECT max(month) AS month
FROM (
    SELECT month FROM files
    UNION ALL
    SELECT month FROM runs
) AS seen
WHERE month < $month
HAVING max(month) IS NOT NULL
