-- Where the clients of $before went: grade then against grade now. Without a grade then: joiners; without one now:
-- leavers. `exposure` is the positive newest bill of joiners and, of $before, of leavers; NULL for the others.
-- Grain: grade then and grade now. Owner: tasks.reports.
WITH earlier AS (
    SELECT client_id, coalesce(grade, 'none') AS grade
    FROM scores
    WHERE month = $before AND is_champion
),
present AS (
    SELECT client_id, coalesce(grade, 'none') AS grade
    FROM scores
    WHERE month = $month AND is_champion
),
moves AS MATERIALIZED (
    -- Those who came or left one by one, all others together: few have to be looked up among the clients.
    SELECT
        e.grade AS grade_before, p.grade AS grade_now,
        CASE WHEN e.grade IS NULL OR p.grade IS NULL THEN coalesce(p.client_id, e.client_id) END AS mover,
        count(*) AS clients
    FROM earlier AS e
    FULL JOIN present AS p ON e.client_id = p.client_id
    GROUP BY e.grade, p.grade, mover
),
exposed AS (
    SELECT m.grade_before, m.grade_now, sum(greatest(c.bill_amt1, 0)) AS exposure
    FROM moves AS m
    INNER JOIN clients AS c
        ON m.mover = c.client_id AND c.month = CASE WHEN m.grade_now IS NULL THEN $before ELSE $month END
    GROUP BY m.grade_before, m.grade_now
)
SELECT
    m.grade_before, m.grade_now, sum(m.clients)::BIGINT AS clients, any_value(x.exposure) AS exposure
FROM moves AS m
LEFT JOIN exposed AS x
    ON
        m.grade_before IS NOT DISTINCT FROM x.grade_before
        AND m.grade_now IS NOT DISTINCT FROM x.grade_now
GROUP BY m.grade_before, m.grade_now
ORDER BY m.grade_before, m.grade_now
