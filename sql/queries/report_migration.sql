-- Where the clients of $before went: grade then against grade now. Without a grade then: joiners; without one now:
-- leavers. `exposure` is the positive newest bill, of $before for leavers. Grain: grade then and grade now.
-- Owner: tasks.reports.
WITH earlier AS (
    SELECT s.client_id, coalesce(s.grade, 'none') AS grade, greatest(c.bill_amt1, 0) AS exposure
    FROM scores AS s
    INNER JOIN clients AS c ON c.month = $before AND c.client_id = s.client_id
    WHERE s.month = $before AND s.is_champion
),
present AS (
    SELECT s.client_id, coalesce(s.grade, 'none') AS grade, greatest(c.bill_amt1, 0) AS exposure
    FROM scores AS s
    INNER JOIN clients AS c ON c.month = $month AND c.client_id = s.client_id
    WHERE s.month = $month AND s.is_champion
)
SELECT
    e.grade AS grade_before, p.grade AS grade_now, count(*) AS clients,
    sum(coalesce(p.exposure, e.exposure)) AS exposure
FROM earlier AS e
FULL JOIN present AS p ON e.client_id = p.client_id
GROUP BY e.grade, p.grade
ORDER BY e.grade, p.grade
