-- How many of the champion's clients are flagged, that is have a PD at or above the cut-off, and what became of
-- them where outcomes are known. Reads what report_cells made. Grain: one row. Owner: tasks.reports.
SELECT
    coalesce(sum(clients), 0)::BIGINT AS judged,
    coalesce(sum(clients) FILTER (WHERE flagged), 0)::BIGINT AS flagged,
    coalesce(sum(outcomes) FILTER (WHERE flagged), 0)::BIGINT AS flagged_known,
    coalesce(sum(defaulters) FILTER (WHERE flagged), 0)::BIGINT AS flagged_defaulters,
    coalesce(sum(defaulters), 0)::BIGINT AS defaulters
FROM month_cells
WHERE month = $month AND flagged IS NOT NULL
