-- Where every month stands. Grain: month. Owner: tasks/status.py.
WITH months AS (
    SELECT month FROM files
    UNION
    SELECT month FROM runs
),

client_files AS (
    SELECT *
    FROM files
    WHERE kind = 'clients' AND is_current
),

champions AS (
    SELECT
        month,
        any_value(model) AS model,
        any_value(version) AS version,
        any_value(basis) AS basis,
        count(*) AS clients
    FROM scores
    WHERE is_champion
    GROUP BY month
),

known AS (
    SELECT
        month,
        count(*) AS outcomes
    FROM outcomes
    GROUP BY month
),

aucs AS (
    SELECT
        month,
        model,
        value
    FROM performance
    WHERE sample = 'realised' AND metric = 'roc_auc'
),

score_drift AS (
    SELECT
        month,
        value
    FROM drift
    WHERE name = 'score'
),

last_runs AS (
    SELECT
        month,
        status,
        message,
        started_at
    FROM runs
    QUALIFY row_number() OVER (PARTITION BY month ORDER BY started_at DESC) = 1
)

SELECT
    m.month,
    f.file_name AS file,
    f.revision AS rev,
    f.received,
    f.accepted,
    f.quarantined,
    c.model || ' ' || c.version AS champion,
    c.basis,
    c.clients AS scored,
    k.outcomes,
    a.value AS auc,
    d.value AS psi,
    r.status || strftime(r.started_at, ' %Y-%m-%d %H:%M') AS last_run,
    CASE WHEN r.status IN ('refused', 'failed', 'killed') THEN r.message END AS message
FROM months AS m
LEFT JOIN client_files AS f ON m.month = f.month
LEFT JOIN champions AS c ON m.month = c.month
LEFT JOIN known AS k ON m.month = k.month
LEFT JOIN aucs AS a ON m.month = a.month AND c.model = a.model
LEFT JOIN score_drift AS d ON m.month = d.month
LEFT JOIN last_runs AS r ON m.month = r.month
ORDER BY m.month
