-- The spine: files, clients, outcomes, quarantine, models, scores, monitoring, runs.
-- Grain is stated on each table. No primary keys: they cost 2-7 times the load time, so
-- uniqueness is checked in SQL before a month is committed.

-- One row per file that was accepted; `is_current` marks the revision that its month uses.
CREATE TABLE files (
    month VARCHAR NOT NULL,
    kind VARCHAR NOT NULL CHECK (kind IN ('clients', 'outcomes')),
    file_sha256 VARCHAR NOT NULL,
    file_name VARCHAR NOT NULL,
    bytes BIGINT NOT NULL,
    revision INTEGER NOT NULL,
    is_current BOOLEAN NOT NULL,
    has_label BOOLEAN NOT NULL,
    received BIGINT NOT NULL,
    accepted BIGINT NOT NULL,
    quarantined BIGINT NOT NULL,
    code_version VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    loaded_at TIMESTAMP NOT NULL,
    CHECK (received = accepted + quarantined)
);

-- One row per month and accepted client.
CREATE TABLE clients (
    month VARCHAR NOT NULL,
    client_id VARCHAR NOT NULL,
    limit_bal DOUBLE NOT NULL,
    sex SMALLINT NOT NULL,
    education SMALLINT NOT NULL,
    marriage SMALLINT NOT NULL,
    age SMALLINT NOT NULL,
    pay_1 SMALLINT NOT NULL,
    pay_2 SMALLINT NOT NULL,
    pay_3 SMALLINT NOT NULL,
    pay_4 SMALLINT NOT NULL,
    pay_5 SMALLINT NOT NULL,
    pay_6 SMALLINT NOT NULL,
    bill_amt1 DOUBLE NOT NULL,
    bill_amt2 DOUBLE NOT NULL,
    bill_amt3 DOUBLE NOT NULL,
    bill_amt4 DOUBLE NOT NULL,
    bill_amt5 DOUBLE NOT NULL,
    bill_amt6 DOUBLE NOT NULL,
    pay_amt1 DOUBLE NOT NULL,
    pay_amt2 DOUBLE NOT NULL,
    pay_amt3 DOUBLE NOT NULL,
    pay_amt4 DOUBLE NOT NULL,
    pay_amt5 DOUBLE NOT NULL,
    pay_amt6 DOUBLE NOT NULL,
    row_number BIGINT NOT NULL,
    file_sha256 VARCHAR NOT NULL
);

-- One row per month and client whose outcome is known: default in the month that follows.
-- `source` is 'outcomes' (its own file) or 'label' (a column of the client file).
CREATE TABLE outcomes (
    month VARCHAR NOT NULL,
    client_id VARCHAR NOT NULL,
    defaulted TINYINT NOT NULL CHECK (defaulted IN (0, 1)),
    source VARCHAR NOT NULL CHECK (source IN ('outcomes', 'label')),
    file_sha256 VARCHAR NOT NULL
);

-- One row per file row that was set aside; the first broken rule is spelled out, all are in `violations`.
CREATE TABLE quarantine (
    month VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    file_sha256 VARCHAR NOT NULL,
    row_number BIGINT NOT NULL,
    client_id VARCHAR,
    rule VARCHAR NOT NULL,
    column_name VARCHAR,
    value VARCHAR,
    violations VARCHAR NOT NULL,
    raw_row VARCHAR NOT NULL
);

-- One row per file and expectation.
CREATE TABLE expectation_results (
    month VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    file_sha256 VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    rule VARCHAR NOT NULL,
    expectation VARCHAR NOT NULL,
    column_name VARCHAR,
    severity VARCHAR NOT NULL CHECK (severity IN ('critical', 'warning', 'info')),
    meaning VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL CHECK (outcome IN ('passed', 'failed', 'not run')),
    evaluated BIGINT NOT NULL,
    unexpected BIGINT NOT NULL,
    examples VARCHAR NOT NULL,
    reason VARCHAR
);

-- One row per fitted model. `training_months` is the months whose outcomes it learned from.
CREATE TABLE models (
    model VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    month VARCHAR NOT NULL,
    training_months VARCHAR[] NOT NULL,
    training_rows BIGINT NOT NULL,
    training_defaulters BIGINT NOT NULL,
    training_sha256 VARCHAR NOT NULL,
    manifest_sha256 VARCHAR NOT NULL,
    artifact VARCHAR NOT NULL,
    seed BIGINT NOT NULL,
    fit_seconds DOUBLE NOT NULL,
    code_version VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    trained_at TIMESTAMP NOT NULL
);

-- One row per month: retrain or reuse, by which rule, and who is champion from then on.
CREATE TABLE decisions (
    month VARCHAR NOT NULL,
    verdict VARCHAR NOT NULL CHECK (verdict IN ('retrain', 'reuse', 'wait')),
    rule VARCHAR NOT NULL,
    value VARCHAR NOT NULL,
    threshold VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    champion VARCHAR,
    version VARCHAR,
    run_id VARCHAR NOT NULL,
    decided_at TIMESTAMP NOT NULL
);

-- One row per month, client and model. `basis` says how to read the score: 'live' (scored with a model
-- that knew nothing of this month), 'in_sample' (this month's outcomes were trained on),
-- 'retrospective' (scored after the month, when a first champion existed).
CREATE TABLE scores (
    month VARCHAR NOT NULL,
    client_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    is_champion BOOLEAN NOT NULL,
    score DOUBLE NOT NULL,
    pd DOUBLE NOT NULL,
    points SMALLINT,
    grade VARCHAR,
    basis VARCHAR NOT NULL CHECK (basis IN ('live', 'in_sample', 'retrospective')),
    run_id VARCHAR NOT NULL,
    file_sha256 VARCHAR NOT NULL,
    code_version VARCHAR NOT NULL,
    scored_at TIMESTAMP NOT NULL
);

-- Scores that a later revision, model or code version replaced.
CREATE TABLE scores_history AS SELECT *, NULL::VARCHAR AS superseded_by_run FROM scores LIMIT 0; -- noqa: AM09

-- One row per month and monitored variable: PSI of the score, CSI of each attribute, on frozen
-- reference deciles of the champion. `name` is 'score' or an attribute.
CREATE TABLE drift (
    month VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    statistic VARCHAR NOT NULL CHECK (statistic IN ('psi', 'csi')),
    value DOUBLE,
    band VARCHAR NOT NULL,
    reference_rows BIGINT NOT NULL,
    current_rows BIGINT NOT NULL,
    model VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    reason VARCHAR
);

-- One row per month, monitored variable and bin of the reference.
CREATE TABLE drift_bins (
    month VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    bin INTEGER NOT NULL,
    label VARCHAR NOT NULL,
    reference_share DOUBLE NOT NULL,
    current_share DOUBLE NOT NULL,
    contribution DOUBLE NOT NULL
);

-- One row per model, version, sample and metric. `sample` is 'held_out' (set aside when the model was
-- developed; month is that of development) or 'realised' (the month's own outcomes).
CREATE TABLE performance (
    month VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    sample VARCHAR NOT NULL CHECK (sample IN ('held_out', 'realised')),
    basis VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    value DOUBLE,
    clients BIGINT NOT NULL,
    defaulters BIGINT NOT NULL,
    reason VARCHAR
);

-- One row per start of a run. `fingerprint` covers files, champion, settings and code: equal means nothing to do.
CREATE TABLE runs (
    run_id VARCHAR NOT NULL,
    month VARCHAR NOT NULL,
    command VARCHAR NOT NULL,
    status VARCHAR NOT NULL CHECK (status IN ('running', 'done', 'refused', 'failed', 'killed')),
    started_at TIMESTAMP NOT NULL,
    ended_at TIMESTAMP,
    code_version VARCHAR NOT NULL,
    fingerprint VARCHAR,
    message VARCHAR,
    backfill_id VARCHAR,
    pid BIGINT NOT NULL
);

-- One row per backfill: its range and its reason.
CREATE TABLE backfills (
    backfill_id VARCHAR NOT NULL,
    first_month VARCHAR NOT NULL,
    last_month VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    requested_by VARCHAR NOT NULL,
    started_at TIMESTAMP NOT NULL,
    ended_at TIMESTAMP,
    result VARCHAR
);

-- One row per run and stage.
CREATE TABLE stage_timings (
    run_id VARCHAR NOT NULL,
    month VARCHAR NOT NULL,
    stage VARCHAR NOT NULL,
    seconds DOUBLE NOT NULL,
    rows BIGINT,
    peak_rss_bytes BIGINT NOT NULL
);

-- What a month's derived figures were made from, so that a run which ended half-way is made good by the next.
-- One row per month and product; `made_from` names the loads of clients and outcomes and the scoring behind it.
CREATE TABLE derived (
    month VARCHAR NOT NULL,
    product VARCHAR NOT NULL CHECK (product IN ('drift', 'performance', 'report')),
    made_from VARCHAR NOT NULL
);
