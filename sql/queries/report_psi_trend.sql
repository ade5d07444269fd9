-- PSI of the score and CSI of each attribute by month, up to $month. Grain: month and variable. Owner: tasks.reports.
SELECT month, name, statistic, value, band
FROM drift
WHERE month <= $month
ORDER BY month, statistic DESC, name
