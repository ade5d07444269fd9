-- How much is at stake and how it is spread over the grades: exposure (the newest bill where positive), expected loss
-- under the loss given default $lgd, Herfindahl-Hirschman index of clients and of exposure over the grades.
-- Grain: at most one row. Owner: tasks.reports.
WITH exposed AS (
    SELECT s.client_id, s.grade, s.pd, c.limit_bal, greatest(c.bill_amt1, 0) AS exposure
    FROM scores AS s
    INNER JOIN clients AS c ON c.month = $month AND c.client_id = s.client_id
    WHERE s.month = $month AND s.is_champion
),
shares AS (
    SELECT
        count(*) / sum(count(*)) OVER () AS of_clients,
        sum(exposure) / nullif(sum(sum(exposure)) OVER (), 0) AS of_exposure
    FROM exposed GROUP BY grade
),
spread AS (
    SELECT
        count(*) AS grades, sum(of_clients * of_clients) AS hhi_clients,
        sum(of_exposure * of_exposure) AS hhi_exposure
    FROM shares
),
ranked AS (
    SELECT exposure, row_number() OVER (ORDER BY exposure DESC) AS place, count(*) OVER () AS total
    FROM exposed
),
largest AS (
    SELECT sum(exposure) AS exposure FROM ranked WHERE place <= ceil(total / 100)
)
SELECT
    count(*) AS clients, sum(e.limit_bal) AS credit_limit, sum(e.exposure) AS exposure, avg(e.pd) AS mean_pd,
    sum(e.pd * e.exposure) / nullif(sum(e.exposure), 0) AS exposure_weighted_pd,
    $lgd::DOUBLE AS lgd, $lgd::DOUBLE * sum(e.pd * e.exposure) AS expected_loss,
    any_value(spread.grades) AS grades,
    any_value(spread.hhi_clients) AS hhi_clients, any_value(spread.hhi_exposure) AS hhi_exposure,
    any_value(largest.exposure) / nullif(sum(e.exposure), 0) AS largest_share
FROM exposed AS e, spread, largest
HAVING count(*) > 0
