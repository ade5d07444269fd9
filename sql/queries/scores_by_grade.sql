-- The champion's scores of a month by grade, riskiest last: clients, mean PD, points.
-- Grain: one row per grade. Owner: flows/artifacts.py.
SELECT
    grade,
    count(*) AS clients,
    avg(pd) AS mean_pd,
    min(points) AS points_low,
    max(points) AS points_high
FROM score_rows
WHERE month = $month AND is_champion
GROUP BY grade
ORDER BY mean_pd, grade
