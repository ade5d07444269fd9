-- What a validator asks of a month: intervals and tests of the PDs, calibration by grade, challengers on the same
-- clients, segments, and fairness monitoring. All of it is made with the month's realised figures.

-- One row per month, model and statistic on the month's own outcomes. `test_statistic`, `p_value` and `degrees`
-- are there for hypothesis tests, `low` and `high` where there is a 95 % interval.
CREATE TABLE validation (
    month VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    basis VARCHAR NOT NULL,
    statistic VARCHAR NOT NULL,
    value DOUBLE,
    low DOUBLE,
    high DOUBLE,
    test_statistic DOUBLE,
    p_value DOUBLE,
    degrees INTEGER,
    clients BIGINT NOT NULL,
    defaulters BIGINT NOT NULL,
    reason VARCHAR
);

-- One row per month, model and grade or tenth of the PD, of clients whose outcome is known. Both p-values are
-- small where more clients defaulted than the PDs stated.
CREATE TABLE calibration (
    month VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    basis VARCHAR NOT NULL,
    grouping VARCHAR NOT NULL CHECK (grouping IN ('grade', 'tenth')),
    position INTEGER NOT NULL,
    group_label VARCHAR NOT NULL,
    clients BIGINT NOT NULL,
    defaulters BIGINT NOT NULL,
    expected DOUBLE NOT NULL,
    mean_pd DOUBLE NOT NULL,
    low_pd DOUBLE NOT NULL,
    high_pd DOUBLE NOT NULL,
    default_rate DOUBLE NOT NULL,
    rate_low DOUBLE,
    rate_high DOUBLE,
    binomial_p DOUBLE,
    jeffreys_p DOUBLE
);

-- One row per month, challenger and statistic: champion against challenger on the same clients.
-- `difference` is the champion's value less the challenger's.
CREATE TABLE comparisons (
    month VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    champion VARCHAR NOT NULL,
    champion_version VARCHAR NOT NULL,
    statistic VARCHAR NOT NULL CHECK (statistic IN ('roc_auc', 'brier')),
    value DOUBLE,
    champion_value DOUBLE,
    difference DOUBLE,
    low DOUBLE,
    high DOUBLE,
    p_value DOUBLE,
    clients BIGINT NOT NULL,
    defaulters BIGINT NOT NULL,
    reason VARCHAR
);

-- One row per month, dimension and group of the champion's clients. `known` is how many outcomes are known.
CREATE TABLE segments (
    month VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    dimension VARCHAR NOT NULL,
    kind VARCHAR NOT NULL CHECK (kind IN ('segment', 'protected')),
    position INTEGER NOT NULL,
    group_label VARCHAR NOT NULL,
    clients BIGINT NOT NULL,
    known BIGINT NOT NULL,
    defaulters BIGINT NOT NULL,
    flagged BIGINT,
    mean_pd DOUBLE NOT NULL,
    expected DOUBLE,
    default_rate DOUBLE,
    rate_low DOUBLE,
    rate_high DOUBLE,
    jeffreys_p DOUBLE,
    auc DOUBLE,
    auc_low DOUBLE,
    auc_high DOUBLE,
    reason VARCHAR
);

-- One row per month, protected attribute, group and measure; `clients` are those that the measure is over.
-- Monitoring, not a legal verdict.
CREATE TABLE fairness (
    month VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    attribute VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    group_label VARCHAR NOT NULL,
    reference_group VARCHAR NOT NULL,
    measure VARCHAR NOT NULL,
    value DOUBLE,
    low DOUBLE,
    high DOUBLE,
    clients BIGINT NOT NULL,
    reason VARCHAR
);

-- Months that were measured by an earlier version are measured anew; their pages stay as they were.
DELETE FROM derived WHERE product = 'performance';
