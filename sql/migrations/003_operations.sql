-- Leaving it running for years: what each run went by, what became of each month of a backfill, alerts, and
-- performance that was estimated before outcomes were known.

-- JSON of what the fingerprint is a digest of, so that a later look can say what has changed since.
ALTER TABLE runs ADD COLUMN facts VARCHAR;

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
-- one: outcomes come late. `not run` says in `message` why the rule could not be evaluated.
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
    evaluated_at TIMESTAMP NOT NULL
);

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
