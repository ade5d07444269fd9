-- Accepted values that the data set's documentation does not explain, or that surprise: counted, never
-- rejected. Grain: one row per attribute group and value, in the documentation's order.
-- Owner: tasks.reports.
WITH counted AS (
    SELECT
        count(*) AS clients,
        count(*) FILTER (WHERE education = 0) AS education_0,
        count(*) FILTER (WHERE education = 5) AS education_5,
        count(*) FILTER (WHERE education = 6) AS education_6,
        count(*) FILTER (WHERE marriage = 0) AS marriage_0,
        sum(
            (pay_1 = -2)::INT + (pay_2 = -2)::INT + (pay_3 = -2)::INT
            + (pay_4 = -2)::INT + (pay_5 = -2)::INT + (pay_6 = -2)::INT
        ) AS pay_no_consumption,
        sum(
            (pay_1 = 0)::INT + (pay_2 = 0)::INT + (pay_3 = 0)::INT
            + (pay_4 = 0)::INT + (pay_5 = 0)::INT + (pay_6 = 0)::INT
        ) AS pay_revolving,
        sum(
            (bill_amt1 < 0)::INT + (bill_amt2 < 0)::INT + (bill_amt3 < 0)::INT
            + (bill_amt4 < 0)::INT + (bill_amt5 < 0)::INT + (bill_amt6 < 0)::INT
        ) AS in_credit
    FROM clients
    WHERE month = $month
)
SELECT
    told.position, told.attribute, told.code, told.meaning,
    coalesce(told.occurrences, 0)::BIGINT AS occurrences, (told.statements * c.clients)::BIGINT AS cells
FROM counted AS c,
    LATERAL (
        VALUES
        (1, 'education', '0', 'undocumented', c.education_0, 1),
        (2, 'education', '5', 'undocumented', c.education_5, 1),
        (3, 'education', '6', 'undocumented', c.education_6, 1),
        (4, 'marriage', '0', 'undocumented', c.marriage_0, 1),
        (5, 'pay_1 … pay_6', '-2', 'undocumented; read as no consumption', c.pay_no_consumption, 6),
        (6, 'pay_1 … pay_6', '0', 'undocumented; read as revolving', c.pay_revolving, 6),
        (7, 'bill_amt1 … bill_amt6', 'below 0', 'the client is in credit', c.in_credit, 6)
    ) AS told (position, attribute, code, meaning, occurrences, statements)
ORDER BY told.position
