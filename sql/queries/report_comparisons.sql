-- The table `comparisons` of a month. Grain: as in the table. Owner: tasks.reports.
SELECT * EXCLUDE (month)
FROM comparisons
WHERE month = $month
ORDER BY model, version, statistic DESC
