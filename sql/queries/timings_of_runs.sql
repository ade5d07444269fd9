-- Every stage of a month's newest run and its parts, in the order in which they ended; of all months where $month is
-- null. A stage or part that was gone through several times is one row. Grain: run and stage. Owner: tasks/timings.py.
WITH newest AS (
    SELECT
        month,
        max(run_id) AS run_id
    FROM runs
    WHERE $month IS NULL OR month = $month
    GROUP BY month
)

SELECT
    r.month,
    r.run_id,
    r.command,
    r.status,
    r.started_at,
    r.ended_at,
    t.stage,
    sum(t.seconds) AS seconds,
    sum(t.rows)::BIGINT AS rows,
    max(t.peak_rss_bytes) AS peak_rss_bytes
FROM newest AS n
INNER JOIN runs AS r ON n.run_id = r.run_id AND n.month = r.month
LEFT JOIN stage_timings AS t ON r.run_id = t.run_id AND r.month = t.month
GROUP BY ALL
ORDER BY r.month DESC, min(t.rowid)
