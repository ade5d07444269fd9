-- The champion's PDs in $bins classes of equal width from 0 to 1. Grain: one row per class that holds clients.
-- Owner: tasks.reports.
SELECT least(floor(pd * $bins), $bins - 1)::INTEGER AS bin, count(*) AS clients
FROM score_rows
WHERE month = $month AND is_champion
GROUP BY bin
ORDER BY bin
