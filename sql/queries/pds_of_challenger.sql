-- Champion and challenger on the same clients, those whose outcome is known. Grain: client. Owner: tasks/assess.py.
SELECT
    c.pd AS champion,
    s.pd AS challenger,
    o.defaulted
FROM scores AS s
INNER JOIN scores AS c ON s.month = c.month AND s.client_id = c.client_id AND c.is_champion
INNER JOIN outcomes AS o ON s.month = o.month AND s.client_id = o.client_id
WHERE s.month = $month AND s.model = $model
ORDER BY s.client_id
