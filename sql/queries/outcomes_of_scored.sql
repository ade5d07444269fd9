-- Outcomes of the clients whom a month's champion scored, where known. Grain: client. Owner: tasks/assess.py.
SELECT o.defaulted
FROM scores AS s
LEFT JOIN outcomes AS o ON s.month = o.month AND s.client_id = o.client_id
WHERE s.month = $month AND s.is_champion
ORDER BY s.client_id
