-- PD beside the truth, for clients whose outcome is known. Grain: client, in no order. Owner: tasks/decide.py.
SELECT
    s.pd,
    o.defaulted
FROM score_rows AS s
INNER JOIN outcomes AS o ON s.month = o.month AND s.client_id = o.client_id
WHERE s.month = $month AND s.model = $model
