-- The table `validation` of a month. Grain: as in the table. Owner: tasks.reports.
SELECT * EXCLUDE (month)
FROM validation
WHERE month = $month
ORDER BY model, version, statistic
