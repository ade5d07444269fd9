-- Months up to the given one whose product was never made, or was made from other clients, scores or outcomes
-- than are there now; each with what it has to be made from. Grain: month. Owner: tasks/monitor.py, tasks/publish.py.
WITH loads AS (
    SELECT
        month,
        any_value(run_id) FILTER (WHERE kind = 'clients') AS clients_run,
        any_value(run_id) FILTER (WHERE kind = 'outcomes') AS outcomes_run
    FROM files
    WHERE is_current AND month <= $month
    GROUP BY month
),

state AS (
    SELECT
        l.month,
        CASE
            WHEN $product IN ('drift', 'estimates') THEN s.run_id
            ELSE concat_ws('|', l.clients_run, l.outcomes_run, s.run_id)
        END AS made_from
    FROM loads AS l
    LEFT JOIN scorings AS s ON l.month = s.month
    WHERE $product = 'report' OR s.run_id IS NOT NULL
)

SELECT
    state.month,
    state.made_from
FROM state
LEFT JOIN derived AS d ON state.month = d.month AND d.product = $product
WHERE d.made_from IS DISTINCT FROM state.made_from
ORDER BY state.month
