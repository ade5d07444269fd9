-- The champion's clients with what segments are made of: PD, whether flagged, and the outcome where it is known.
-- Grain: client, in no order. Owner: tasks/assess.py.
SELECT
    s.pd,
    s.flagged,
    o.defaulted,
    c.limit_bal,
    c.sex,
    c.education,
    c.marriage,
    c.age,
    c.pay_1,
    c.bill_amt1
FROM score_rows AS s
INNER JOIN clients AS c ON s.month = c.month AND s.client_id = c.client_id
LEFT JOIN outcomes AS o ON s.month = o.month AND s.client_id = o.client_id
WHERE s.month = $month AND s.is_champion
