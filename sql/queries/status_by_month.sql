-- Where every month stands that has a file or a run, newest first; only from tables that readers have too. Alerts
-- are counted in the month's newest run that evaluated any. Grain: month. Owner: tasks/status.py.
WITH months AS (
    SELECT month FROM files
    UNION
    SELECT month FROM runs
),

client_files AS (
    SELECT
        month,
        file_name AS file,
        revision,
        file_sha256,
        loaded_at,
        received,
        accepted,
        quarantined
    FROM files
    WHERE kind = 'clients' AND is_current
),

counted AS (
    SELECT
        month,
        count(*) AS scored
    FROM score_rows
    WHERE is_champion
    GROUP BY month
),

champions AS (
    SELECT
        s.month,
        s.champion AS model,
        s.version,
        s.basis,
        c.scored,
        s.scored_at
    FROM scorings AS s
    INNER JOIN counted AS c ON s.month = c.month
),

known AS (
    SELECT
        month,
        count(*) AS outcomes,
        sum(defaulted)::BIGINT AS defaulters
    FROM outcomes
    GROUP BY month
),

figures AS (
    SELECT
        month,
        model,
        version,
        max(value) FILTER (WHERE sample = 'estimated' AND metric = 'roc_auc') AS auc_estimated,
        max(value) FILTER (WHERE sample = 'estimated' AND metric = 'roc_auc_sd') AS auc_estimated_sd,
        max(value) FILTER (WHERE sample = 'realised' AND metric = 'roc_auc') AS auc_realised
    FROM performance
    GROUP BY month, model, version
),

score_drift AS (
    SELECT
        month,
        value AS psi,
        band AS psi_band
    FROM drift
    WHERE name = 'score'
),

last_runs AS (
    SELECT
        month,
        run_id,
        command AS run_command,
        status AS run_status,
        started_at AS run_started_at,
        ended_at AS run_ended_at,
        message AS run_message
    FROM runs
    QUALIFY row_number() OVER (PARTITION BY month ORDER BY started_at DESC, run_id DESC) = 1
),

last_evaluated AS (
    SELECT
        month,
        arg_max(run_id, evaluated_at) AS run_id
    FROM alerts
    GROUP BY month
),

raised AS (
    SELECT
        a.month,
        count(*) FILTER (WHERE a.state = 'raised' AND a.severity = 'critical') AS alerts_critical,
        count(*) FILTER (WHERE a.state = 'raised' AND a.severity = 'warning') AS alerts_warning,
        count(*) FILTER (WHERE a.state = 'raised' AND a.severity = 'info') AS alerts_info
    FROM alerts AS a
    INNER JOIN last_evaluated AS e ON a.month = e.month AND a.run_id = e.run_id
    GROUP BY a.month
)

SELECT
    m.month,
    f.* EXCLUDE (month),
    c.* EXCLUDE (month),
    k.* EXCLUDE (month),
    p.auc_estimated,
    p.auc_estimated_sd,
    p.auc_realised,
    d.* EXCLUDE (month),
    r.* EXCLUDE (month),
    a.* EXCLUDE (month)
FROM months AS m
LEFT JOIN client_files AS f ON m.month = f.month
LEFT JOIN champions AS c ON m.month = c.month
LEFT JOIN known AS k ON m.month = k.month
LEFT JOIN figures AS p ON m.month = p.month AND c.model = p.model AND c.version = p.version
LEFT JOIN score_drift AS d ON m.month = d.month
LEFT JOIN last_runs AS r ON m.month = r.month
LEFT JOIN raised AS a ON m.month = a.month
ORDER BY m.month DESC
