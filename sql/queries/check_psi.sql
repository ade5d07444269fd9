-- PSI of the score and CSI of each attribute from the shares of their bins, none held below the floor: a
-- ten-thousandth, or half a row of the smaller side. Grain: variable. Owner: readers.
WITH held AS (
    SELECT
        b.name, d.value AS stored,
        greatest(b.current_share, 1e-4, 0.5 / least(d.reference_rows, d.current_rows)) AS current,
        greatest(b.reference_share, 1e-4, 0.5 / least(d.reference_rows, d.current_rows)) AS reference
    FROM drift_bins AS b
    INNER JOIN drift AS d ON b.month = d.month AND b.name = d.name
    WHERE b.month = $month
)
SELECT name, any_value(stored) AS stored, sum((current - reference) * ln(current / reference)) AS value
FROM held
GROUP BY name
ORDER BY name
