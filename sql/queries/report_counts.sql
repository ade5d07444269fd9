-- How many of the month's champion scores have a known outcome, by class. Grain: one row.
-- Owner: tasks.reports.
SELECT count(*) AS scored, count(o.defaulted) AS outcomes, coalesce(sum(o.defaulted), 0)::BIGINT AS defaulters
FROM scores AS s
LEFT JOIN outcomes AS o ON o.month = $month AND o.client_id = s.client_id
WHERE s.month = $month AND s.is_champion
