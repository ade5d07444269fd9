-- PSI of the score and CSI of each attribute on the champion's frozen reference bins: the score first,
-- then the most moved. Grain: one row per variable. Owner: tasks.reports.
SELECT name, statistic, value, band, reference_rows, current_rows, model, version, reason
FROM drift
WHERE month = $month
ORDER BY name <> 'score', value DESC NULLS LAST, name
