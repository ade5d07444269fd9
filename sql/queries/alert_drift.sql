-- PSI of the champion's score and CSI of each attribute in the month. Grain: variable, most moved first.
-- Owner: tasks/alerts.py.
SELECT
    name,
    statistic,
    value,
    reason
FROM drift
WHERE month = $month
ORDER BY value DESC NULLS LAST, name
