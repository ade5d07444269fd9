-- How many of the champion's clients are flagged, that is have a PD at or above the cut-off, and what became of
-- them where outcomes are known. Grain: one row. Owner: tasks.reports.
SELECT
    count(s.flagged) AS judged, count(*) FILTER (WHERE s.flagged) AS flagged,
    count(o.defaulted) FILTER (WHERE s.flagged) AS flagged_known,
    count(*) FILTER (WHERE s.flagged AND o.defaulted = 1) AS flagged_defaulters,
    count(*) FILTER (WHERE s.flagged IS NOT NULL AND o.defaulted = 1) AS defaulters
FROM scores AS s
LEFT JOIN outcomes AS o ON o.month = $month AND o.client_id = s.client_id
WHERE s.month = $month AND s.is_champion
