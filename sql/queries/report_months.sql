-- The overview's line of figures for each month that has a file or a run ($month NULL: all months).
-- Grain: one row per month, oldest first. Mean PD is over all clients of the champion; the default rate
-- is over the clients whose outcome is known. Owner: tasks.reports.
WITH listed AS (
    SELECT DISTINCT month FROM (
        SELECT month FROM files
        UNION ALL
        SELECT month FROM runs
    ) AS seen
    WHERE $month::VARCHAR IS NULL OR month = $month
),
client_files AS (
    SELECT month, received, accepted, quarantined
    FROM files WHERE kind = 'clients' AND is_current
),
counted AS (
    SELECT month, count(*) AS scored, avg(pd) AS mean_pd
    FROM score_rows
    WHERE is_champion AND ($month::VARCHAR IS NULL OR month = $month)
    GROUP BY month
),
champions AS (
    SELECT s.month, s.champion AS model, s.version, s.basis, c.scored, c.mean_pd
    FROM scorings AS s
    INNER JOIN counted AS c ON s.month = c.month
),
known AS (
    SELECT month, count(*) AS outcomes, sum(defaulted)::BIGINT AS defaulters, avg(defaulted) AS default_rate
    FROM outcomes
    WHERE $month::VARCHAR IS NULL OR month = $month
    GROUP BY month
),
held_out AS (
    SELECT model, version, any_value(value) AS auc
    FROM performance WHERE sample = 'held_out' AND metric = 'roc_auc' GROUP BY model, version
),
realised AS (
    SELECT month, model, version, any_value(value) AS auc
    FROM performance WHERE sample = 'realised' AND metric = 'roc_auc' GROUP BY month, model, version
),
estimated AS (
    SELECT month, model, version, any_value(value) AS auc
    FROM performance WHERE sample = 'estimated' AND metric = 'roc_auc' GROUP BY month, model, version
),
score_psi AS (
    SELECT month, any_value(value) AS psi, any_value(band) AS psi_band, any_value(reason) AS psi_reason
    FROM drift WHERE name = 'score' GROUP BY month
),
attributes AS (
    SELECT
        month, count(value) AS csi_known,
        coalesce(list(name ORDER BY value DESC, name) FILTER (WHERE value >= 0.25), []) AS moved
    FROM drift WHERE statistic = 'csi' GROUP BY month
),
checks AS (
    SELECT
        e.month,
        count(*) FILTER (WHERE e.outcome = 'failed' AND e.severity <> 'info') AS checks_failed,
        count(*) FILTER (WHERE e.outcome = 'failed' AND e.severity = 'info') AS checks_noted,
        count(*) FILTER (WHERE e.outcome = 'not run') AS checks_not_run, count(*) AS checks
    FROM expectation_results AS e
    SEMI JOIN files AS f ON f.file_sha256 = e.file_sha256 AND f.month = e.month AND f.kind = e.kind AND f.is_current
    GROUP BY e.month
),
by_hand AS (
    SELECT
        month, list(
            CASE action
                WHEN 'rollback' THEN 'Rolled back to ' ELSE 'Promoted by hand: '
            END || model || ' ' || version || ' by ' || decided_by || ' (' || reason || ').'
            ORDER BY decided_at
        ) AS by_hand
    FROM promotions WHERE action IN ('promote', 'rollback') GROUP BY month
),
-- A backfill may score a month by today's champion; what was decided at that time stays on record.
as_of_now AS (
    SELECT
        c.month,
        'Scored as of now by ' || c.model || ' ' || c.version || ', not by the champion of then, '
        || d.champion || ' ' || d.version || '; creditflow run ' || c.month || ' brings that view back.' AS told
    FROM champions AS c
    INNER JOIN decisions AS d ON c.month = d.month
    WHERE d.champion IS NOT NULL AND (d.champion <> c.model OR d.version <> c.version)
),
last_run AS (
    SELECT month, arg_max(status, started_at) AS run_status, arg_max(message, started_at) AS run_message
    FROM runs GROUP BY month
)
SELECT
    listed.month, received, accepted, quarantined,
    champions.model AS champion, champions.version, basis, scored, mean_pd,
    outcomes, defaulters, default_rate,
    held_out.auc AS auc_held_out, estimated.auc AS auc_estimated, realised.auc AS auc_realised,
    psi, psi_band, psi_reason, csi_known, coalesce(moved, []) AS moved,
    coalesce(checks, 0) AS checks, coalesce(checks_failed, 0) AS checks_failed,
    coalesce(checks_noted, 0) AS checks_noted,
    coalesce(checks_not_run, 0) AS checks_not_run,
    run_status, run_message,
    if(as_of_now.told IS NULL, [], [as_of_now.told]) || coalesce(by_hand.by_hand, []) AS by_hand
FROM listed
LEFT JOIN client_files USING (month)
LEFT JOIN champions USING (month)
LEFT JOIN known USING (month)
LEFT JOIN held_out ON held_out.model = champions.model AND held_out.version = champions.version
LEFT JOIN realised
    ON
        realised.month = listed.month
        AND realised.model = champions.model AND realised.version = champions.version
LEFT JOIN estimated
    ON
        estimated.month = listed.month
        AND estimated.model = champions.model AND estimated.version = champions.version
LEFT JOIN score_psi ON score_psi.month = listed.month
LEFT JOIN attributes ON attributes.month = listed.month
LEFT JOIN checks ON checks.month = listed.month
LEFT JOIN last_run ON last_run.month = listed.month
LEFT JOIN by_hand ON by_hand.month = listed.month
LEFT JOIN as_of_now ON as_of_now.month = listed.month
ORDER BY listed.month
