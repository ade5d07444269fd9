-- Shares of reference and month in each reference bin. Grain: one row per variable and bin.
-- Owner: tasks.reports.
SELECT name, bin, label, reference_share, current_share, contribution
FROM drift_bins
WHERE month = $month
ORDER BY name, bin
