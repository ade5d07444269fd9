-- The table `calibration` of a month. Grain: as in the table. Owner: tasks.reports.
SELECT * EXCLUDE (month)
FROM calibration
WHERE month = $month
ORDER BY model, version, grouping, position
