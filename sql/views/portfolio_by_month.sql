-- The portfolio month by month: clients, exposure, expected and observed default rate. `exposure` is the sum
-- of the newest bills, clients in credit counted as zero. Grain: month. Owner: analysts.
CREATE OR REPLACE VIEW portfolio_by_month AS
SELECT
    month,
    any_value(model) AS model,
    any_value(version) AS version,
    any_value(basis) AS basis,
    count(*) AS clients,
    sum(greatest(bill_amt1, 0)) AS exposure,
    avg(pd) AS mean_pd,
    sum(pd * greatest(bill_amt1, 0)) / nullif(sum(greatest(bill_amt1, 0)), 0) AS exposure_weighted_pd,
    avg(points) AS mean_points,
    count(defaulted) AS outcomes_known,
    avg(defaulted) AS default_rate
FROM champion_scores
GROUP BY month
ORDER BY month;
