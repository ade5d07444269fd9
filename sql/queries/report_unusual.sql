-- The columns that the one-class VAE found most unusual: how many explained clients name them among their three,
-- and how far off they were, in standard deviations. Grain: one row per column. Owner: tasks.reports.
WITH named AS (
    SELECT unusual_1 AS name, deformation_1 AS deformation, 1 AS place FROM reasons WHERE month = $month
    UNION ALL
    SELECT unusual_2, deformation_2, 2 FROM reasons WHERE month = $month
    UNION ALL
    SELECT unusual_3, deformation_3, 3 FROM reasons WHERE month = $month
)
SELECT
    name, count(*) AS clients, count(*) FILTER (WHERE place = 1) AS first,
    median(deformation) AS median, max(abs(deformation)) AS largest
FROM named
WHERE name IS NOT NULL
GROUP BY name
ORDER BY clients DESC, name
LIMIT $limit
