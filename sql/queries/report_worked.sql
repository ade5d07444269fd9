-- Five explained clients, from the riskiest down: the highest PD, the nearest ones on both sides of the cut-off,
-- the middle and the lowest PD; fewer where these are the same client. Grain: one row per client.
-- Owner: tasks.reports.
WITH ranked AS (
    SELECT
        s.client_id, row_number() OVER (ORDER BY s.pd DESC, s.client_id) AS place, count(*) OVER () AS total,
        count(*) FILTER (WHERE s.flagged) OVER () AS flagged_total
    FROM scores AS s
    SEMI JOIN reasons AS r ON r.month = $month AND r.client_id = s.client_id
    WHERE s.month = $month AND s.is_champion
),
chosen AS (
    SELECT
        client_id, place,
        CASE
            WHEN place = 1 THEN 'the highest PD'
            WHEN place = total THEN 'the lowest PD of those explained'
            WHEN place = flagged_total THEN 'the last at or above the cut-off'
            WHEN place = flagged_total + 1 THEN 'the first below the cut-off'
            ELSE 'the middle of those explained'
        END AS chosen_for
    FROM ranked
    WHERE place IN (1, flagged_total, flagged_total + 1, (total + 1) // 2, total)
)
SELECT
    s.client_id, s.model, s.version, s.score, s.pd, s.points, s.grade, s.flagged, o.defaulted, chosen.chosen_for,
    r.* EXCLUDE (month, client_id, model, version), c.* EXCLUDE (month, client_id, row_number, file_sha256)
FROM chosen
INNER JOIN scores AS s ON s.month = $month AND s.client_id = chosen.client_id AND s.is_champion
INNER JOIN reasons AS r ON r.month = $month AND r.client_id = chosen.client_id
INNER JOIN clients AS c ON c.month = $month AND c.client_id = chosen.client_id
LEFT JOIN outcomes AS o ON o.month = $month AND o.client_id = chosen.client_id
ORDER BY chosen.place
