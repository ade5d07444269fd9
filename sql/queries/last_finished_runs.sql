-- The newest run of every month that scored it and reached its end, with how long it took, and how the newest start
-- of all ended. Grain: month. Owner: tasks/plan.py.
WITH finished AS (
    SELECT
        month,
        arg_max(run_id, ended_at) AS run_id,
        arg_max(fingerprint, ended_at) AS fingerprint,
        arg_max(facts, ended_at) AS facts,
        max(ended_at) AS ended_at
    FROM runs
    WHERE status = 'done' AND command != 'outcomes'
    GROUP BY month
),

started AS (
    SELECT
        month,
        arg_max(status, started_at) AS status,
        arg_max(message, started_at) AS message
    FROM runs
    WHERE command != 'outcomes'
    GROUP BY month
),

spent AS (
    SELECT
        run_id,
        sum(seconds) AS seconds
    FROM stage_timings
    -- A part is within its stage, and a process starts up once for many months.
    WHERE NOT contains(stage, ': ') AND stage != 'start-up'
    GROUP BY run_id
)

SELECT
    s.month,
    f.run_id,
    f.fingerprint,
    f.facts,
    f.ended_at,
    t.seconds,
    s.status,
    s.message
FROM started AS s
LEFT JOIN finished AS f ON s.month = f.month
LEFT JOIN spent AS t ON f.run_id = t.run_id
ORDER BY s.month
