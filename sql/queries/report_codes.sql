-- Accepted values that the data set's documentation does not explain, or that surprise: counted, never
-- rejected. Grain: one row per attribute group and value, in the documentation's order.
-- Owner: tasks.reports.
WITH month_clients AS (SELECT * FROM clients WHERE month = $month),
pays AS (
    UNPIVOT (SELECT pay_1, pay_2, pay_3, pay_4, pay_5, pay_6 FROM month_clients)
    ON COLUMNS(*) INTO NAME attribute VALUE code
),
bills AS (
    UNPIVOT (SELECT bill_amt1, bill_amt2, bill_amt3, bill_amt4, bill_amt5, bill_amt6 FROM month_clients)
    ON COLUMNS(*) INTO NAME attribute VALUE amount
)
SELECT
    1 AS position, 'education' AS attribute, '0' AS code, 'undocumented' AS meaning,
    count(*) FILTER (WHERE education = 0) AS occurrences, count(*) AS cells
FROM month_clients
UNION ALL
SELECT 2, 'education', '5', 'undocumented', count(*) FILTER (WHERE education = 5), count(*) FROM month_clients
UNION ALL
SELECT 3, 'education', '6', 'undocumented', count(*) FILTER (WHERE education = 6), count(*) FROM month_clients
UNION ALL
SELECT 4, 'marriage', '0', 'undocumented', count(*) FILTER (WHERE marriage = 0), count(*) FROM month_clients
UNION ALL
SELECT 5, 'pay_1 … pay_6', '-2', 'undocumented; read as no consumption', count(*) FILTER (WHERE code = -2), count(*)
FROM pays
UNION ALL
SELECT 6, 'pay_1 … pay_6', '0', 'undocumented; read as revolving', count(*) FILTER (WHERE code = 0), count(*)
FROM pays
UNION ALL
SELECT 7, 'bill_amt1 … bill_amt6', 'below 0', 'the client is in credit', count(*) FILTER (WHERE amount < 0), count(*)
FROM bills
ORDER BY position
