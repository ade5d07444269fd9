-- How many of the month's champion scores have a known outcome, by class. Reads what report_cells made.
-- Grain: one row. Owner: tasks.reports.
SELECT
    coalesce(sum(clients), 0)::BIGINT AS scored, coalesce(sum(outcomes), 0)::BIGINT AS outcomes,
    coalesce(sum(defaulters), 0)::BIGINT AS defaulters
FROM month_cells
WHERE month = $month
