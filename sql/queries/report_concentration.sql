-- How much is at stake and how it is spread over the grades: exposure (the newest bill where positive), expected loss
-- under the loss given default $lgd, Herfindahl-Hirschman index of clients and of exposure over the grades, and the
-- share of the largest hundredth of the clients. Reads what report_cells made.
-- Grain: at most one row. Owner: tasks.reports.
WITH grades AS MATERIALIZED (
    SELECT
        grade, sum(clients) AS clients, sum(credit_limit) AS credit_limit, sum(exposure) AS exposure,
        sum(expected_defaulters) AS expected_defaulters, sum(risked) AS risked
    FROM month_cells
    WHERE month = $month
    GROUP BY grade
    ORDER BY grade
),
shares AS MATERIALIZED (
    SELECT
        *, clients / sum(clients) OVER () AS of_clients,
        exposure / nullif(sum(exposure) OVER (), 0) AS of_exposure
    FROM grades
    ORDER BY grade
),
-- Every client of a scored month is scored. A limit keeps so many rows in memory, a window would keep all.
largest AS (
    SELECT sum(exposure) AS exposure
    FROM (
        SELECT greatest(bill_amt1, 0) AS exposure
        FROM clients
        WHERE month = $month
        ORDER BY exposure DESC
        LIMIT (SELECT ceil(sum(clients) / 100)::BIGINT FROM grades)
    ) AS hundredth
)
SELECT
    sum(s.clients)::BIGINT AS clients, sum(s.credit_limit) AS credit_limit, sum(s.exposure) AS exposure,
    sum(s.expected_defaulters) / sum(s.clients) AS mean_pd,
    sum(s.risked) / nullif(sum(s.exposure), 0) AS exposure_weighted_pd,
    $lgd::DOUBLE AS lgd, $lgd::DOUBLE * sum(s.risked) AS expected_loss,
    count(*) AS grades, sum(s.of_clients * s.of_clients) AS hhi_clients,
    sum(s.of_exposure * s.of_exposure) AS hhi_exposure,
    any_value(largest.exposure) / nullif(sum(s.exposure), 0) AS largest_share
FROM shares AS s, largest
HAVING count(*) > 0
