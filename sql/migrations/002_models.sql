-- Models that can be trusted: which attributes they know, how they were calibrated and where they cut, every
-- rule and gate that was evaluated, who made which model champion and why, and reasons for scores.

ALTER TABLE models ADD COLUMN attributes VARCHAR DEFAULT 'all';
ALTER TABLE models ADD COLUMN calibrator VARCHAR DEFAULT 'platt';
ALTER TABLE models ADD COLUMN cut_off DOUBLE;

-- Whether the champion's PD reaches its cut-off; null for challengers and for scores of earlier versions.
ALTER TABLE scores ADD COLUMN flagged BOOLEAN;
ALTER TABLE scores_history ADD COLUMN flagged BOOLEAN;

-- One row per month and rule of the retrain decision, in the order of precedence; `met` is null where the
-- rule could not be evaluated, and `reason` says why.
CREATE TABLE retrain_rules (
    month VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    rule VARCHAR NOT NULL,
    value VARCHAR NOT NULL,
    threshold VARCHAR NOT NULL,
    met BOOLEAN,
    reason VARCHAR NOT NULL
);

-- One row per month of development and check of the promotion gate. Challenger against champion on the
-- clients of `sample_month` that the challenger never saw.
CREATE TABLE gate_checks (
    month VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    model VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    champion VARCHAR,
    champion_version VARCHAR,
    sample_month VARCHAR,
    clients BIGINT,
    defaulters BIGINT,
    name VARCHAR NOT NULL,
    value DOUBLE,
    low DOUBLE,
    high DOUBLE,
    threshold DOUBLE,
    passed BOOLEAN,
    reason VARCHAR NOT NULL
);

-- One row each time the champion changed: it counts from the run of `month` on. `first`: there was none;
-- `gate`: the challenger passed the promotion gate; `replacement`: the champion before could not be used, or
-- gave way before there was a gate; `promote` and `rollback`: a person's choice.
CREATE TABLE promotions (
    promotion_id VARCHAR NOT NULL,
    month VARCHAR NOT NULL,
    action VARCHAR NOT NULL CHECK (action IN ('first', 'gate', 'replacement', 'promote', 'rollback')),
    model VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    from_model VARCHAR,
    from_version VARCHAR,
    reason VARCHAR NOT NULL,
    decided_by VARCHAR NOT NULL,
    decided_at TIMESTAMP NOT NULL,
    run_id VARCHAR
);

-- The changes that earlier versions made, which put every new set in force without a gate.
INSERT INTO promotions BY NAME
WITH named AS (
    SELECT
        *,
        lag(champion) OVER (ORDER BY month) AS from_model,
        lag(version) OVER (ORDER BY month) AS from_version
    FROM decisions
    WHERE champion IS NOT NULL
)

SELECT
    if(from_model IS NULL, 'first-', 'replacement-') || month AS promotion_id,
    month,
    if(from_model IS NULL, 'first', 'replacement') AS action,
    champion AS model,
    version,
    from_model,
    from_version,
    reason,
    'creditflow' AS decided_by,
    decided_at,
    run_id
FROM named
WHERE (champion, version) IS DISTINCT FROM (from_model, from_version);

-- One row per month and explained client: what raised the champion's score most, in log-odds, and which
-- columns the one-class VAE found most unusual, in standard deviations. log-odds = base_log_odds + all
-- contributions, of which the four largest above zero are kept; codes are those of reason_texts.
CREATE TABLE reasons (
    month VARCHAR NOT NULL,
    client_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    base_log_odds DOUBLE,
    reason_1 VARCHAR,
    contribution_1 DOUBLE,
    reason_2 VARCHAR,
    contribution_2 DOUBLE,
    reason_3 VARCHAR,
    contribution_3 DOUBLE,
    reason_4 VARCHAR,
    contribution_4 DOUBLE,
    unusual_1 VARCHAR,
    deformation_1 DOUBLE,
    unusual_2 VARCHAR,
    deformation_2 DOUBLE,
    unusual_3 VARCHAR,
    deformation_3 DOUBLE
);

-- One row per reason code: what it says to a reader.
CREATE TABLE reason_texts (
    code VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    meaning VARCHAR NOT NULL
);

-- Scores are derived too: from a version, a file, the code and the settings of points and reasons.
CREATE TABLE derived_next (
    month VARCHAR NOT NULL,
    product VARCHAR NOT NULL CHECK (product IN ('scores', 'drift', 'performance', 'report')),
    made_from VARCHAR NOT NULL
);
INSERT INTO derived_next BY NAME
SELECT *
FROM derived;
DROP TABLE derived;
ALTER TABLE derived_next RENAME TO derived;

-- Everything that named a champion, in one place: decisions of runs, and choices of persons.
CREATE VIEW named_champions AS
SELECT
    month,
    'run' AS action,
    champion AS model,
    version,
    reason,
    decided_at
FROM decisions
WHERE champion IS NOT NULL
UNION ALL
SELECT
    month,
    action,
    model,
    version,
    reason,
    decided_at
FROM promotions
WHERE action IN ('promote', 'rollback');
