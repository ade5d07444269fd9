-- The champion's grades, best first: clients, PD, points, credit limit, positive newest balance, and the
-- balance times PD, and the default rate where outcomes are known. Amounts in the currency of the file.
-- Reads what report_cells made. Grain: one row per grade. Owner: tasks.reports.
SELECT
    grade, sum(clients)::BIGINT AS clients, sum(expected_defaulters) / sum(clients) AS mean_pd,
    min(points_low) AS points_low, max(points_high) AS points_high,
    sum(credit_limit) AS credit_limit, sum(exposure) AS balance, sum(risked) AS risked,
    sum(outcomes)::BIGINT AS outcomes, sum(defaulters) / nullif(sum(outcomes), 0) AS default_rate
FROM month_cells
WHERE month = $month
GROUP BY grade
ORDER BY mean_pd, grade
