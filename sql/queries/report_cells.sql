-- The month's champion scores with amounts and outcomes, added up: what report_grades, report_counts, report_flags,
-- report_confusion and report_concentration tell, in one look at the clients. The temporary table
-- month_cells for the time of a pack. Decimals add up to the same whichever thread takes which rows.
-- Grain: month (one), grade and flag. Owner: tasks.reports.
SELECT
    s.month, s.grade, s.flagged, any_value(s.model) AS model, any_value(s.version) AS version,
    count(*) AS clients, sum(s.pd::DECIMAL(18, 15))::DOUBLE AS expected_defaulters,
    min(s.points) AS points_low, max(s.points) AS points_high,
    sum(c.limit_bal) AS credit_limit, sum(greatest(c.bill_amt1, 0)) AS exposure,
    sum((s.pd * greatest(c.bill_amt1, 0))::DECIMAL(38, 9))::DOUBLE AS risked,
    count(o.defaulted) AS outcomes, coalesce(sum(o.defaulted), 0)::BIGINT AS defaulters
FROM scores AS s
INNER JOIN clients AS c ON c.month = $month AND c.client_id = s.client_id
LEFT JOIN outcomes AS o ON o.month = $month AND o.client_id = s.client_id
WHERE s.month = $month AND s.is_champion
GROUP BY s.month, s.grade, s.flagged
-- In one order: sums of fractions over these rows depend on it.
ORDER BY s.grade, s.flagged
