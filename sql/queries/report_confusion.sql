-- What the cut-off did to the champion's clients whose outcome is known, and what it would have cost: $missed_default
-- for each defaulter that is not flagged, $refused_good for each flagged client who paid. Reads what report_cells
-- made. Grain: at most one row. Owner: tasks.reports.
SELECT
    coalesce(sum(c.defaulters) FILTER (WHERE c.flagged), 0)::BIGINT AS hits,
    coalesce(sum(c.outcomes - c.defaulters) FILTER (WHERE c.flagged), 0)::BIGINT AS false_alarms,
    coalesce(sum(c.defaulters) FILTER (WHERE NOT c.flagged), 0)::BIGINT AS misses,
    coalesce(sum(c.outcomes - c.defaulters) FILTER (WHERE NOT c.flagged), 0)::BIGINT AS rejections,
    $missed_default::DOUBLE AS missed_default, $refused_good::DOUBLE AS refused_good,
    any_value(m.cut_off) AS cut_off
FROM month_cells AS c
LEFT JOIN models AS m ON m.model = c.model AND m.version = c.version
WHERE c.month = $month AND c.flagged IS NOT NULL
HAVING sum(c.outcomes) > 0
