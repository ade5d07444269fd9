-- Leaving it running for years: what each run went by, what became of each month of a backfill, alerts, and
-- performance that was estimated before outcomes were known.

-- JSON of what the fingerprint is a digest of, so that a later look can say what has changed since.
ALTER TABLE runs ADD COLUMN facts VARCHAR;

-- JSON of month: the contents (SHA-256 of clients and outcomes) that the set learned from; null for sets of
-- earlier versions.
ALTER TABLE models ADD COLUMN training_files VARCHAR;

-- `then`: each month as its monthly run would have gone; `now`: by the champion and the outcomes of today.
ALTER TABLE backfills ADD COLUMN as_of VARCHAR DEFAULT 'then';

-- One row per backfill and month that it came to.
CREATE TABLE backfill_months (
    backfill_id VARCHAR NOT NULL,
    month VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL CHECK (outcome IN ('done', 'unchanged', 'failed')),
    message VARCHAR NOT NULL,
    seconds DOUBLE NOT NULL,
    ended_at TIMESTAMP NOT NULL
);

-- One row per run and alert rule. `about_month` is the month that the value belongs to, which can be an earlier
-- one: outcomes come late. `not run` says in `message` why the rule could not be evaluated. A run that was
-- refused or failed has the rule run_failed alone, and a look of the schedule at what has not come (run_id
-- 'look-…') the rule overdue_file alone. `told` is null until the telling of the run is over: 'sent' to every
-- receiver, 'before' (an earlier run had told the same), 'below' the severity asked for, 'nobody' to tell, or
-- 'failed' with some receiver, which the next run tries again.
CREATE TABLE alerts (
    run_id VARCHAR NOT NULL,
    month VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    rule VARCHAR NOT NULL,
    severity VARCHAR NOT NULL CHECK (severity IN ('critical', 'warning', 'info')),
    state VARCHAR NOT NULL CHECK (state IN ('raised', 'clear', 'not run')),
    about_month VARCHAR,
    value DOUBLE,
    threshold DOUBLE,
    message VARCHAR NOT NULL,
    remedy VARCHAR NOT NULL,
    evaluated_at TIMESTAMP NOT NULL,
    told VARCHAR CHECK (told IN ('sent', 'before', 'below', 'nobody', 'failed'))
);

-- One row per alert, receiver and attempt to tell it. A receiver is 'events' (of Prefect), 'webhook', or the name of
-- a Prefect block; `message` says why the attempt failed. Never the address: it may hold a secret.
CREATE TABLE alert_messages (
    run_id VARCHAR NOT NULL,
    month VARCHAR NOT NULL,
    rule VARCHAR NOT NULL,
    severity VARCHAR NOT NULL,
    topic VARCHAR NOT NULL,
    receiver VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL CHECK (outcome IN ('sent', 'failed')),
    message VARCHAR,
    told_at TIMESTAMP NOT NULL
);

-- Every rule as the newest run of its month found it. A run that was refused or failed, or a look of the schedule,
-- evaluates one rule alone: it adds to what the newest whole run found.
CREATE VIEW current_alerts AS
WITH wholes AS (
    SELECT
        month,
        arg_max(run_id, evaluated_at) AS run_id,
        max(evaluated_at) AS evaluated_at
    FROM alerts
    WHERE (rule <> 'run_failed' OR state <> 'raised') AND NOT starts_with(run_id, 'look-')
    GROUP BY month
)

SELECT a.*
FROM alerts AS a
LEFT JOIN wholes AS w ON a.month = w.month
WHERE w.run_id IS NULL OR a.run_id = w.run_id OR a.evaluated_at > w.evaluated_at
QUALIFY row_number() OVER (PARTITION BY a.month, a.rule ORDER BY a.evaluated_at DESC, a.run_id DESC) = 1;

-- Performance may be estimated from calibrated PDs before outcomes are known.
CREATE TABLE performance_next (
    month VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    sample VARCHAR NOT NULL CHECK (sample IN ('held_out', 'estimated', 'realised')),
    basis VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    value DOUBLE,
    clients BIGINT NOT NULL,
    defaulters BIGINT,
    reason VARCHAR
);
INSERT INTO performance_next BY NAME
SELECT *
FROM performance;
DROP TABLE performance;
ALTER TABLE performance_next RENAME TO performance;

CREATE TABLE derived_next (
    month VARCHAR NOT NULL,
    product VARCHAR NOT NULL CHECK (product IN ('scores', 'drift', 'estimates', 'performance', 'report')),
    made_from VARCHAR NOT NULL
);
INSERT INTO derived_next BY NAME
SELECT *
FROM derived;
DROP TABLE derived;
ALTER TABLE derived_next RENAME TO derived;
