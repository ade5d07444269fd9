-- The champion's grades, best first: clients, PD, points, credit limit, positive newest balance, and the
-- balance times PD, and the default rate where outcomes are known. Amounts in the currency of the file.
-- Grain: one row per grade. Owner: tasks.reports.
SELECT
    s.grade, count(*) AS clients, avg(s.pd) AS mean_pd,
    min(s.points) AS points_low, max(s.points) AS points_high,
    sum(c.limit_bal) AS credit_limit, sum(greatest(c.bill_amt1, 0)) AS balance,
    sum(s.pd * greatest(c.bill_amt1, 0)) AS risked,
    count(o.defaulted) AS outcomes, avg(o.defaulted) AS default_rate
FROM scores AS s
INNER JOIN clients AS c ON c.month = $month AND c.client_id = s.client_id
LEFT JOIN outcomes AS o ON o.month = $month AND o.client_id = s.client_id
WHERE s.month = $month AND s.is_champion
GROUP BY s.grade
ORDER BY mean_pd, s.grade
