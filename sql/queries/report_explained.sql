-- How many clients of each grade were explained, of how many; grades best first.
-- Grain: one row per grade. Owner: tasks.reports.
SELECT
    s.grade, count(*) AS clients, count(r.client_id) AS explained,
    count(r.reason_1) AS with_reason, count(r.unusual_1) AS with_unusual
FROM scores AS s
LEFT JOIN reasons AS r ON r.month = $month AND r.client_id = s.client_id
WHERE s.month = $month AND s.is_champion
GROUP BY s.grade
ORDER BY avg(s.pd), s.grade
