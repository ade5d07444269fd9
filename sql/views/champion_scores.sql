-- The champion's score of every client, month by month, with the outcome where it is known.
-- Grain: month and client. Owner: analysts.
CREATE OR REPLACE VIEW champion_scores AS
SELECT
    s.month,
    s.client_id,
    s.model,
    s.version,
    s.pd,
    s.points,
    s.grade,
    s.basis,
    c.limit_bal,
    c.bill_amt1,
    o.defaulted,
    s.run_id,
    s.file_sha256,
    s.code_version,
    s.scored_at
FROM scores AS s
INNER JOIN clients AS c ON s.month = c.month AND s.client_id = c.client_id
LEFT JOIN outcomes AS o ON s.month = o.month AND s.client_id = o.client_id
WHERE s.is_champion;
