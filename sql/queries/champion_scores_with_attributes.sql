-- What is monitored for drift: every attribute and the champion's raw score. Grain: client. Owner: tasks/monitor.py.
SELECT
    c.* EXCLUDE (month, client_id, row_number, file_sha256),
    s.score
FROM clients AS c
INNER JOIN score_rows AS s ON c.month = s.month AND c.client_id = s.client_id
WHERE c.month = $month AND s.is_champion
