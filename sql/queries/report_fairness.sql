-- The table `fairness` of a month. Grain: as in the table. Owner: tasks.reports.
SELECT * EXCLUDE (month)
FROM fairness
WHERE month = $month
ORDER BY attribute, measure, position
