-- What segments are made of, each client of a month by a hash of 64 bits. Grain: client, in the order in which they are
-- stored: as a rule that in which they were scored. Owner: tasks/assess.py.
SELECT
    hash(client_id) AS client,
    limit_bal,
    sex,
    education,
    marriage,
    age,
    pay_1,
    bill_amt1
FROM clients
WHERE month = $month
