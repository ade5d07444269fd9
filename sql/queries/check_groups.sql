-- Expected and observed defaults of the champion's grades, and the terms whose sum over the tenths is Hosmer and
-- Lemeshow's statistic. Grain: grouping and group. Owner: readers.
WITH champion AS (
    SELECT champion AS model, version FROM scorings WHERE month = $month
)
SELECT
    grouping, position, group_label, clients, defaulters, expected, default_rate,
    (defaulters - expected) ** 2 / nullif(clients * mean_pd * (1 - mean_pd), 0) AS term
FROM calibration
INNER JOIN champion USING (model, version)
WHERE month = $month
ORDER BY grouping, position
