-- One client's champion score of a month with its reasons, their words, and what became of the client.
-- Grain: at most one row. Owner: tasks/explain.py.
SELECT
    s.month,
    s.client_id,
    s.model,
    s.version,
    s.basis,
    s.score,
    s.pd,
    s.points,
    s.grade,
    s.flagged,
    s.scored_at,
    s.run_id,
    m.cut_off, m.calibrator, o.defaulted, r.client_id IS NOT NULL AS explained,
    r.* EXCLUDE (month, client_id, model, version), c.* EXCLUDE (month, client_id, row_number, file_sha256)
FROM scores AS s
LEFT JOIN models AS m ON m.model = s.model AND m.version = s.version
LEFT JOIN reasons AS r ON r.month = s.month AND r.client_id = s.client_id
LEFT JOIN clients AS c ON c.month = s.month AND c.client_id = s.client_id
LEFT JOIN outcomes AS o ON o.month = s.month AND o.client_id = s.client_id
WHERE s.month = $month AND s.client_id = $client_id AND s.is_champion
