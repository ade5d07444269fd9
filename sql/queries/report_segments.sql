-- The table `segments` of a month. Grain: as in the table. Owner: tasks.reports.
SELECT * EXCLUDE (month)
FROM segments
WHERE month = $month
ORDER BY kind DESC, dimension, position
