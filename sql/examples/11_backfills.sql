-- Which months did each backfill run, why, and how long did they take?
SELECT
    b.started_at,
    b.requested_by,
    b.reason,
    b.as_of,
    m.month,
    m.outcome,
    round(m.seconds, 1) AS seconds,
    m.message
FROM backfills AS b
LEFT JOIN backfill_months AS m ON b.backfill_id = m.backfill_id
ORDER BY b.started_at DESC, m.month
