-- Up to ten explained clients, from the riskiest down: the highest and the lowest PD, the nearest ones on both sides
-- of the cut-off, four on the way down, and where outcomes are known the riskiest who paid and the safest who
-- defaulted; fewer where these are the same client. Grain: one row per client. Owner: tasks.reports.
WITH ranked AS MATERIALIZED (
    SELECT
        s.client_id, o.defaulted, s.flagged, row_number() OVER (ORDER BY s.pd DESC, s.client_id) AS place
    FROM scores AS s
    SEMI JOIN reasons AS r ON r.month = $month AND r.client_id = s.client_id
    LEFT JOIN outcomes AS o ON o.month = $month AND o.client_id = s.client_id
    WHERE s.month = $month AND s.is_champion
),
totals AS (
    SELECT
        count(*) AS total, count(*) FILTER (WHERE flagged) AS flagged_total,
        min(place) FILTER (WHERE defaulted = 0) AS first_who_paid,
        max(place) FILTER (WHERE defaulted = 1) AS last_who_defaulted
    FROM ranked
),
chosen AS MATERIALIZED (
    SELECT
        client_id, place,
        CASE
            WHEN place = 1 THEN 'the highest PD'
            WHEN place = total THEN 'the lowest PD of those explained'
            WHEN place = first_who_paid THEN 'the riskiest who paid'
            WHEN place = last_who_defaulted THEN 'the safest who defaulted'
            WHEN place = flagged_total THEN 'the last at or above the cut-off'
            WHEN place = flagged_total + 1 THEN 'the first below the cut-off'
            WHEN place = (total + 9) // 10 THEN 'a tenth of those explained are riskier'
            WHEN place = (total + 3) // 4 THEN 'a quarter of those explained are riskier'
            WHEN place = (total + 1) // 2 THEN 'the middle of those explained'
            WHEN place = (3 * total + 1) // 4 THEN 'three quarters of those explained are riskier'
        END AS chosen_for
    FROM ranked, totals
    WHERE chosen_for IS NOT NULL
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
