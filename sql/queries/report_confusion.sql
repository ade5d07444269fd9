-- What the cut-off did to the champion's clients whose outcome is known, and what it would have cost: $missed_default
-- for each defaulter that is not flagged, $refused_good for each flagged client who paid.
-- Grain: at most one row. Owner: tasks.reports.
SELECT
    count(*) FILTER (WHERE s.flagged AND o.defaulted = 1) AS hits,
    count(*) FILTER (WHERE s.flagged AND o.defaulted = 0) AS false_alarms,
    count(*) FILTER (WHERE NOT s.flagged AND o.defaulted = 1) AS misses,
    count(*) FILTER (WHERE NOT s.flagged AND o.defaulted = 0) AS rejections,
    $missed_default::DOUBLE AS missed_default, $refused_good::DOUBLE AS refused_good,
    any_value(m.cut_off) AS cut_off
FROM scores AS s
INNER JOIN outcomes AS o ON o.month = $month AND o.client_id = s.client_id
LEFT JOIN models AS m ON m.model = s.model AND m.version = s.version
WHERE s.month = $month AND s.is_champion AND s.flagged IS NOT NULL
HAVING count(*) > 0
