-- How many explained clients of each grade name each reason among their reasons, in any place.
-- Grain: one row per reason code and grade that occur together. Owner: tasks.reports.
WITH named AS (
    UNPIVOT (
        SELECT r.client_id, s.grade, s.pd, r.reason_1, r.reason_2, r.reason_3, r.reason_4
        FROM reasons AS r
        INNER JOIN scores AS s ON s.month = $month AND s.client_id = r.client_id AND s.is_champion
        WHERE r.month = $month
    )
    ON reason_1, reason_2, reason_3, reason_4 INTO NAME place VALUE code
)
SELECT
    n.code, any_value(t.reason) AS reason, n.grade, count(*) AS clients,
    count(*) FILTER (WHERE n.place = 'reason_1') AS first
FROM named AS n
LEFT JOIN reason_texts AS t ON t.code = n.code
GROUP BY n.code, n.grade
ORDER BY n.code, n.grade
