-- Brier score beside that of the base rate, and Spiegelhalter's z, of the champion on the month's outcomes.
-- Grain: one row. Owner: readers.
SELECT
    avg((s.pd - o.defaulted) ** 2) AS brier,
    avg(o.defaulted) * (1 - avg(o.defaulted)) AS brier_reference,
    1 - avg((s.pd - o.defaulted) ** 2) / nullif(avg(o.defaulted) * (1 - avg(o.defaulted)), 0) AS brier_skill,
    sum((o.defaulted - s.pd) * (1 - 2 * s.pd))
    / nullif(sqrt(sum((1 - 2 * s.pd) ** 2 * s.pd * (1 - s.pd))), 0) AS spiegelhalter
FROM scores AS s
INNER JOIN outcomes AS o ON o.month = $month AND o.client_id = s.client_id
WHERE s.month = $month AND s.is_champion
