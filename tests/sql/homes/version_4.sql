-- A warehouse as version 4 left it, frozen: the tables that its migrations made, with rows in each.
-- Clients are invented. Never edited: what a later version does with it is what tests/sql/test_migrations.py asks.

CREATE TABLE migrations("name" VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL);
INSERT INTO migrations VALUES
('001_spine', '2005-05-01 06:00:00'),
('002_models', '2005-05-02 06:00:00'),
('003_operations', '2005-05-03 06:00:00'),
('004_validation', '2005-05-04 06:00:00');

CREATE TABLE files("month" VARCHAR NOT NULL, kind VARCHAR NOT NULL, file_sha256 VARCHAR NOT NULL, file_name VARCHAR NOT NULL, bytes BIGINT NOT NULL, revision INTEGER NOT NULL, is_current BOOLEAN NOT NULL, has_label BOOLEAN NOT NULL, received BIGINT NOT NULL, accepted BIGINT NOT NULL, quarantined BIGINT NOT NULL, code_version VARCHAR NOT NULL, run_id VARCHAR NOT NULL, loaded_at TIMESTAMP NOT NULL, CHECK((kind IN ('clients', 'outcomes'))), CHECK((received = (accepted + quarantined))));
INSERT INTO files VALUES
('2005-04', 'clients', '0000000000000000000000000000000000000000000000000000000000000000', 'file_name 0, "quoted"; it''s text', 3000000000, 1, true, true, 10, 8, 2, 'code_version 0, "quoted"; it''s text', 'run_id 0, "quoted"; it''s text', '2005-06-01 06:00:00'),
('2005-05', 'outcomes', '1111111111111111111111111111111111111111111111111111111111111111', 'file_name 1, "quoted"; it''s text', 3000000001, 2, false, false, 11, 9, 2, 'code_version 1, "quoted"; it''s text', 'run_id 1, "quoted"; it''s text', '2005-06-01 06:01:00'),
('2005-06', 'clients', '2222222222222222222222222222222222222222222222222222222222222222', 'file_name 2, "quoted"; it''s text', 3000000002, 3, true, true, 12, 10, 2, 'code_version 2, "quoted"; it''s text', 'run_id 2, "quoted"; it''s text', '2005-06-01 06:02:00'),
('2005-04', 'outcomes', '3333333333333333333333333333333333333333333333333333333333333333', 'file_name 3, "quoted"; it''s text', 3000000003, 4, false, false, 13, 11, 2, 'code_version 3, "quoted"; it''s text', 'run_id 3, "quoted"; it''s text', '2005-06-01 06:03:00'),
('2005-05', 'clients', '4444444444444444444444444444444444444444444444444444444444444444', 'file_name 4, "quoted"; it''s text', 3000000004, 5, true, true, 14, 12, 2, 'code_version 4, "quoted"; it''s text', 'run_id 4, "quoted"; it''s text', '2005-06-01 06:04:00'),
('2005-06', 'outcomes', '5555555555555555555555555555555555555555555555555555555555555555', 'file_name 5, "quoted"; it''s text', 3000000005, 6, false, false, 15, 13, 2, 'code_version 5, "quoted"; it''s text', 'run_id 5, "quoted"; it''s text', '2005-06-01 06:05:00');

CREATE TABLE clients("month" VARCHAR NOT NULL, client_id VARCHAR NOT NULL, limit_bal DOUBLE NOT NULL, sex SMALLINT NOT NULL, education SMALLINT NOT NULL, marriage SMALLINT NOT NULL, age SMALLINT NOT NULL, pay_1 SMALLINT NOT NULL, pay_2 SMALLINT NOT NULL, pay_3 SMALLINT NOT NULL, pay_4 SMALLINT NOT NULL, pay_5 SMALLINT NOT NULL, pay_6 SMALLINT NOT NULL, bill_amt1 DOUBLE NOT NULL, bill_amt2 DOUBLE NOT NULL, bill_amt3 DOUBLE NOT NULL, bill_amt4 DOUBLE NOT NULL, bill_amt5 DOUBLE NOT NULL, bill_amt6 DOUBLE NOT NULL, pay_amt1 DOUBLE NOT NULL, pay_amt2 DOUBLE NOT NULL, pay_amt3 DOUBLE NOT NULL, pay_amt4 DOUBLE NOT NULL, pay_amt5 DOUBLE NOT NULL, pay_amt6 DOUBLE NOT NULL, row_number BIGINT NOT NULL, file_sha256 VARCHAR NOT NULL);
INSERT INTO clients VALUES
('2005-04', '25003', 0.1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 1, '0000000000000000000000000000000000000000000000000000000000000000'),
('2005-05', 'Ü-7', 0.242857, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 2, '1111111111111111111111111111111111111111111111111111111111111111'),
('2005-06', 'c''3', 0.385714, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 3, '2222222222222222222222222222222222222222222222222222222222222222'),
('2005-04', '<b>', 0.528571, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 4, '3333333333333333333333333333333333333333333333333333333333333333'),
('2005-05', '0001', 0.671429, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 5, '4444444444444444444444444444444444444444444444444444444444444444'),
('2005-06', 'x y', 0.814286, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 0.814286, 0.814286, 0.814286, 0.814286, 0.814286, 0.814286, 0.814286, 0.814286, 0.814286, 0.814286, 0.814286, 0.814286, 6, '5555555555555555555555555555555555555555555555555555555555555555');

CREATE TABLE outcomes("month" VARCHAR NOT NULL, client_id VARCHAR NOT NULL, defaulted TINYINT NOT NULL, "source" VARCHAR NOT NULL, file_sha256 VARCHAR NOT NULL, CHECK((defaulted IN (0, 1))), CHECK(("source" IN ('outcomes', 'label'))));
INSERT INTO outcomes VALUES
('2005-04', '25003', 0, 'outcomes', '0000000000000000000000000000000000000000000000000000000000000000'),
('2005-05', 'Ü-7', 1, 'label', '1111111111111111111111111111111111111111111111111111111111111111'),
('2005-06', 'c''3', 0, 'outcomes', '2222222222222222222222222222222222222222222222222222222222222222'),
('2005-04', '<b>', 1, 'label', '3333333333333333333333333333333333333333333333333333333333333333'),
('2005-05', '0001', 0, 'outcomes', '4444444444444444444444444444444444444444444444444444444444444444'),
('2005-06', 'x y', 1, 'label', '5555555555555555555555555555555555555555555555555555555555555555');

CREATE TABLE quarantine("month" VARCHAR NOT NULL, kind VARCHAR NOT NULL, file_sha256 VARCHAR NOT NULL, row_number BIGINT NOT NULL, client_id VARCHAR, "rule" VARCHAR NOT NULL, column_name VARCHAR, "value" VARCHAR, violations VARCHAR NOT NULL, raw_row VARCHAR NOT NULL);
INSERT INTO quarantine VALUES
('2005-04', 'kind 0, "quoted"; it''s text', '0000000000000000000000000000000000000000000000000000000000000000', 1, '25003', 'rule 0, "quoted"; it''s text', 'column_name 0, "quoted"; it''s text', 'value 0, "quoted"; it''s text', 'violations 0, "quoted"; it''s text', 'raw_row 0, "quoted"; it''s text'),
('2005-05', 'kind 1, "quoted"; it''s text', '1111111111111111111111111111111111111111111111111111111111111111', 2, 'Ü-7', 'rule 1, "quoted"; it''s text', 'column_name 1, "quoted"; it''s text', 'value 1, "quoted"; it''s text', 'violations 1, "quoted"; it''s text', 'raw_row 1, "quoted"; it''s text'),
('2005-06', 'kind 2, "quoted"; it''s text', '2222222222222222222222222222222222222222222222222222222222222222', 3, 'c''3', 'rule 2, "quoted"; it''s text', 'column_name 2, "quoted"; it''s text', 'value 2, "quoted"; it''s text', 'violations 2, "quoted"; it''s text', 'raw_row 2, "quoted"; it''s text'),
('2005-04', 'kind 3, "quoted"; it''s text', '3333333333333333333333333333333333333333333333333333333333333333', 4, '<b>', 'rule 3, "quoted"; it''s text', 'column_name 3, "quoted"; it''s text', 'value 3, "quoted"; it''s text', 'violations 3, "quoted"; it''s text', 'raw_row 3, "quoted"; it''s text'),
('2005-05', 'kind 4, "quoted"; it''s text', '4444444444444444444444444444444444444444444444444444444444444444', 5, '0001', 'rule 4, "quoted"; it''s text', 'column_name 4, "quoted"; it''s text', 'value 4, "quoted"; it''s text', 'violations 4, "quoted"; it''s text', 'raw_row 4, "quoted"; it''s text'),
('2005-06', 'kind 5, "quoted"; it''s text', '5555555555555555555555555555555555555555555555555555555555555555', 6, NULL, 'rule 5, "quoted"; it''s text', NULL, NULL, 'violations 5, "quoted"; it''s text', 'raw_row 5, "quoted"; it''s text');

CREATE TABLE expectation_results("month" VARCHAR NOT NULL, kind VARCHAR NOT NULL, file_sha256 VARCHAR NOT NULL, "position" INTEGER NOT NULL, "rule" VARCHAR NOT NULL, expectation VARCHAR NOT NULL, column_name VARCHAR, severity VARCHAR NOT NULL, meaning VARCHAR NOT NULL, outcome VARCHAR NOT NULL, evaluated BIGINT NOT NULL, unexpected BIGINT NOT NULL, examples VARCHAR NOT NULL, reason VARCHAR, CHECK((severity IN ('critical', 'warning', 'info'))), CHECK((outcome IN ('passed', 'failed', 'not run'))));
INSERT INTO expectation_results VALUES
('2005-04', 'kind 0, "quoted"; it''s text', '0000000000000000000000000000000000000000000000000000000000000000', 1, 'rule 0, "quoted"; it''s text', 'expectation 0, "quoted"; it''s text', 'column_name 0, "quoted"; it''s text', 'critical', 'meaning 0, "quoted"; it''s text', 'passed', 1, 1, 'examples 0, "quoted"; it''s text', 'reason 0, "quoted"; it''s text'),
('2005-05', 'kind 1, "quoted"; it''s text', '1111111111111111111111111111111111111111111111111111111111111111', 2, 'rule 1, "quoted"; it''s text', 'expectation 1, "quoted"; it''s text', 'column_name 1, "quoted"; it''s text', 'warning', 'meaning 1, "quoted"; it''s text', 'failed', 2, 2, 'examples 1, "quoted"; it''s text', 'reason 1, "quoted"; it''s text'),
('2005-06', 'kind 2, "quoted"; it''s text', '2222222222222222222222222222222222222222222222222222222222222222', 3, 'rule 2, "quoted"; it''s text', 'expectation 2, "quoted"; it''s text', 'column_name 2, "quoted"; it''s text', 'info', 'meaning 2, "quoted"; it''s text', 'not run', 3, 3, 'examples 2, "quoted"; it''s text', 'reason 2, "quoted"; it''s text'),
('2005-04', 'kind 3, "quoted"; it''s text', '3333333333333333333333333333333333333333333333333333333333333333', 4, 'rule 3, "quoted"; it''s text', 'expectation 3, "quoted"; it''s text', 'column_name 3, "quoted"; it''s text', 'critical', 'meaning 3, "quoted"; it''s text', 'passed', 4, 4, 'examples 3, "quoted"; it''s text', 'reason 3, "quoted"; it''s text'),
('2005-05', 'kind 4, "quoted"; it''s text', '4444444444444444444444444444444444444444444444444444444444444444', 5, 'rule 4, "quoted"; it''s text', 'expectation 4, "quoted"; it''s text', 'column_name 4, "quoted"; it''s text', 'warning', 'meaning 4, "quoted"; it''s text', 'failed', 5, 5, 'examples 4, "quoted"; it''s text', 'reason 4, "quoted"; it''s text'),
('2005-06', 'kind 5, "quoted"; it''s text', '5555555555555555555555555555555555555555555555555555555555555555', 6, 'rule 5, "quoted"; it''s text', 'expectation 5, "quoted"; it''s text', NULL, 'info', 'meaning 5, "quoted"; it''s text', 'not run', 6, 6, 'examples 5, "quoted"; it''s text', NULL);

CREATE TABLE models(model VARCHAR NOT NULL, "version" VARCHAR NOT NULL, "month" VARCHAR NOT NULL, training_months VARCHAR[] NOT NULL, training_rows BIGINT NOT NULL, training_defaulters BIGINT NOT NULL, training_sha256 VARCHAR NOT NULL, manifest_sha256 VARCHAR NOT NULL, artifact VARCHAR NOT NULL, seed BIGINT NOT NULL, fit_seconds DOUBLE NOT NULL, code_version VARCHAR NOT NULL, run_id VARCHAR NOT NULL, trained_at TIMESTAMP NOT NULL, attributes VARCHAR DEFAULT('all'), calibrator VARCHAR DEFAULT('platt'), cut_off DOUBLE, training_files VARCHAR);
INSERT INTO models VALUES
('logistic', '2005-05-0a0b0c0d', '2005-04', ['2005-04'], 1, 1, '0000000000000000000000000000000000000000000000000000000000000000', '0000000000000000000000000000000000000000000000000000000000000000', 'artifacts/v0/logistic', 1, 0.1, 'code_version 0, "quoted"; it''s text', 'run_id 0, "quoted"; it''s text', '2005-06-01 06:00:00', 'attributes 0, "quoted"; it''s text', 'calibrator 0, "quoted"; it''s text', 0.1, '{"2005-04": ["0000", "1111"]}'),
('blend', '2005-05-1a1b0c1d', '2005-05', ['2005-04', '2005-05'], 2, 2, '1111111111111111111111111111111111111111111111111111111111111111', '1111111111111111111111111111111111111111111111111111111111111111', 'artifacts/v1/logistic', 2, 0.242857, 'code_version 1, "quoted"; it''s text', 'run_id 1, "quoted"; it''s text', '2005-06-01 06:01:00', 'attributes 1, "quoted"; it''s text', 'calibrator 1, "quoted"; it''s text', 0.242857, '{"2005-04": ["0000", "1111"]}'),
('logistic', '2005-05-0a0b0c0d', '2005-06', ['2005-04'], 3, 3, '2222222222222222222222222222222222222222222222222222222222222222', '2222222222222222222222222222222222222222222222222222222222222222', 'artifacts/v2/logistic', 3, 0.385714, 'code_version 2, "quoted"; it''s text', 'run_id 2, "quoted"; it''s text', '2005-06-01 06:02:00', 'attributes 2, "quoted"; it''s text', 'calibrator 2, "quoted"; it''s text', 0.385714, '{"2005-04": ["0000", "1111"]}'),
('blend', '2005-05-1a1b0c1d', '2005-04', ['2005-04', '2005-05'], 4, 4, '3333333333333333333333333333333333333333333333333333333333333333', '3333333333333333333333333333333333333333333333333333333333333333', 'artifacts/v3/logistic', 4, 0.528571, 'code_version 3, "quoted"; it''s text', 'run_id 3, "quoted"; it''s text', '2005-06-01 06:03:00', 'attributes 3, "quoted"; it''s text', 'calibrator 3, "quoted"; it''s text', 0.528571, '{"2005-04": ["0000", "1111"]}'),
('logistic', '2005-05-0a0b0c0d', '2005-05', ['2005-04'], 5, 5, '4444444444444444444444444444444444444444444444444444444444444444', '4444444444444444444444444444444444444444444444444444444444444444', 'artifacts/v4/logistic', 5, 0.671429, 'code_version 4, "quoted"; it''s text', 'run_id 4, "quoted"; it''s text', '2005-06-01 06:04:00', 'attributes 4, "quoted"; it''s text', 'calibrator 4, "quoted"; it''s text', 0.671429, '{"2005-04": ["0000", "1111"]}'),
('blend', '2005-05-1a1b0c1d', '2005-06', ['2005-04', '2005-05'], 6, 6, '5555555555555555555555555555555555555555555555555555555555555555', '5555555555555555555555555555555555555555555555555555555555555555', 'artifacts/v5/logistic', 6, 0.814286, 'code_version 5, "quoted"; it''s text', 'run_id 5, "quoted"; it''s text', '2005-06-01 06:05:00', NULL, NULL, NULL, '{"2005-04": ["0000", "1111"]}');

CREATE TABLE decisions("month" VARCHAR NOT NULL, verdict VARCHAR NOT NULL, "rule" VARCHAR NOT NULL, "value" VARCHAR NOT NULL, threshold VARCHAR NOT NULL, reason VARCHAR NOT NULL, champion VARCHAR, "version" VARCHAR, run_id VARCHAR NOT NULL, decided_at TIMESTAMP NOT NULL, CHECK((verdict IN ('retrain', 'reuse', 'wait'))));
INSERT INTO decisions VALUES
('2005-01', 'retrain', 'rule 0, "quoted"; it''s text', 'value 0, "quoted"; it''s text', 'threshold 0, "quoted"; it''s text', 'reason 0, "quoted"; it''s text', 'logistic', '2005-05-0a0b0c0d', 'run_id 0, "quoted"; it''s text', '2005-06-01 06:00:00'),
('2005-02', 'reuse', 'rule 1, "quoted"; it''s text', 'value 1, "quoted"; it''s text', 'threshold 1, "quoted"; it''s text', 'reason 1, "quoted"; it''s text', 'blend', '2005-05-1a1b0c1d', 'run_id 1, "quoted"; it''s text', '2005-06-01 06:01:00'),
('2005-03', 'wait', 'rule 2, "quoted"; it''s text', 'value 2, "quoted"; it''s text', 'threshold 2, "quoted"; it''s text', 'reason 2, "quoted"; it''s text', 'logistic', '2005-05-0a0b0c0d', 'run_id 2, "quoted"; it''s text', '2005-06-01 06:02:00'),
('2005-04', 'retrain', 'rule 3, "quoted"; it''s text', 'value 3, "quoted"; it''s text', 'threshold 3, "quoted"; it''s text', 'reason 3, "quoted"; it''s text', 'blend', '2005-05-1a1b0c1d', 'run_id 3, "quoted"; it''s text', '2005-06-01 06:03:00'),
('2005-05', 'reuse', 'rule 4, "quoted"; it''s text', 'value 4, "quoted"; it''s text', 'threshold 4, "quoted"; it''s text', 'reason 4, "quoted"; it''s text', 'logistic', '2005-05-0a0b0c0d', 'run_id 4, "quoted"; it''s text', '2005-06-01 06:04:00'),
('2005-06', 'wait', 'rule 5, "quoted"; it''s text', 'value 5, "quoted"; it''s text', 'threshold 5, "quoted"; it''s text', 'reason 5, "quoted"; it''s text', NULL, NULL, 'run_id 5, "quoted"; it''s text', '2005-06-01 06:05:00');

CREATE TABLE scores("month" VARCHAR NOT NULL, client_id VARCHAR NOT NULL, model VARCHAR NOT NULL, "version" VARCHAR NOT NULL, is_champion BOOLEAN NOT NULL, score DOUBLE NOT NULL, pd DOUBLE NOT NULL, points SMALLINT, grade VARCHAR, basis VARCHAR NOT NULL, run_id VARCHAR NOT NULL, file_sha256 VARCHAR NOT NULL, code_version VARCHAR NOT NULL, scored_at TIMESTAMP NOT NULL, flagged BOOLEAN, CHECK((basis IN ('live', 'in_sample', 'retrospective'))));
INSERT INTO scores VALUES
('2005-04', '25003', 'logistic', '2005-05-0a0b0c0d', true, 0.05, 0.045, 501, 'B', 'live', 'run_id 0, "quoted"; it''s text', '0000000000000000000000000000000000000000000000000000000000000000', 'code_version 0, "quoted"; it''s text', '2005-06-01 06:00:00', false),
('2005-04', '25003', 'blend', '2005-05-0a0b0c0d', false, 0.0871, 0.07839, NULL, NULL, 'live', 'run_id 0, "quoted"; it''s text', '0000000000000000000000000000000000000000000000000000000000000000', 'code_version 0, "quoted"; it''s text', '2005-06-01 06:00:00', NULL),
('2005-04', 'Ü-7', 'logistic', '2005-05-0a0b0c0d', true, 0.1242, 0.11178, 503, 'D', 'live', 'run_id 0, "quoted"; it''s text', '0000000000000000000000000000000000000000000000000000000000000000', 'code_version 0, "quoted"; it''s text', '2005-06-01 06:00:00', true),
('2005-04', 'Ü-7', 'blend', '2005-05-0a0b0c0d', false, 0.1613, 0.14517, NULL, NULL, 'live', 'run_id 0, "quoted"; it''s text', '0000000000000000000000000000000000000000000000000000000000000000', 'code_version 0, "quoted"; it''s text', '2005-06-01 06:00:00', NULL),
('2005-04', 'c''3', 'logistic', '2005-05-0a0b0c0d', true, 0.1984, 0.17856, 505, 'B', 'live', 'run_id 0, "quoted"; it''s text', '0000000000000000000000000000000000000000000000000000000000000000', 'code_version 0, "quoted"; it''s text', '2005-06-01 06:00:00', false),
('2005-04', 'c''3', 'blend', '2005-05-0a0b0c0d', false, 0.2355, 0.21195, NULL, NULL, 'live', 'run_id 0, "quoted"; it''s text', '0000000000000000000000000000000000000000000000000000000000000000', 'code_version 0, "quoted"; it''s text', '2005-06-01 06:00:00', NULL),
('2005-04', '<b>', 'logistic', '2005-05-0a0b0c0d', true, 0.2726, 0.24534, 507, 'D', 'live', 'run_id 0, "quoted"; it''s text', '0000000000000000000000000000000000000000000000000000000000000000', 'code_version 0, "quoted"; it''s text', '2005-06-01 06:00:00', false),
('2005-04', '<b>', 'blend', '2005-05-0a0b0c0d', false, 0.3097, 0.27873, NULL, NULL, 'live', 'run_id 0, "quoted"; it''s text', '0000000000000000000000000000000000000000000000000000000000000000', 'code_version 0, "quoted"; it''s text', '2005-06-01 06:00:00', NULL),
('2005-05', '25003', 'logistic', '2005-05-1a1b0c1d', false, 0.3468, 0.31212, NULL, NULL, 'in_sample', 'run_id 1, "quoted"; it''s text', '1111111111111111111111111111111111111111111111111111111111111111', 'code_version 1, "quoted"; it''s text', '2005-06-01 06:01:00', NULL),
('2005-05', '25003', 'blend', '2005-05-1a1b0c1d', true, 0.3839, 0.34551, 510, 'C', 'in_sample', 'run_id 1, "quoted"; it''s text', '1111111111111111111111111111111111111111111111111111111111111111', 'code_version 1, "quoted"; it''s text', '2005-06-01 06:01:00', false),
('2005-05', 'Ü-7', 'logistic', '2005-05-1a1b0c1d', false, 0.421, 0.3789, NULL, NULL, 'in_sample', 'run_id 1, "quoted"; it''s text', '1111111111111111111111111111111111111111111111111111111111111111', 'code_version 1, "quoted"; it''s text', '2005-06-01 06:01:00', NULL),
('2005-05', 'Ü-7', 'blend', '2005-05-1a1b0c1d', true, 0.4581, 0.41229, 512, 'A', 'in_sample', 'run_id 1, "quoted"; it''s text', '1111111111111111111111111111111111111111111111111111111111111111', 'code_version 1, "quoted"; it''s text', '2005-06-01 06:01:00', true),
('2005-05', 'c''3', 'logistic', '2005-05-1a1b0c1d', false, 0.4952, 0.44568, NULL, NULL, 'in_sample', 'run_id 1, "quoted"; it''s text', '1111111111111111111111111111111111111111111111111111111111111111', 'code_version 1, "quoted"; it''s text', '2005-06-01 06:01:00', NULL),
('2005-05', 'c''3', 'blend', '2005-05-1a1b0c1d', true, 0.5323, 0.47907, 514, 'C', 'in_sample', 'run_id 1, "quoted"; it''s text', '1111111111111111111111111111111111111111111111111111111111111111', 'code_version 1, "quoted"; it''s text', '2005-06-01 06:01:00', false),
('2005-05', '<b>', 'logistic', '2005-05-1a1b0c1d', false, 0.5694, 0.51246, NULL, NULL, 'in_sample', 'run_id 1, "quoted"; it''s text', '1111111111111111111111111111111111111111111111111111111111111111', 'code_version 1, "quoted"; it''s text', '2005-06-01 06:01:00', NULL),
('2005-05', '<b>', 'blend', '2005-05-1a1b0c1d', true, 0.6065, 0.54585, 516, 'A', 'in_sample', 'run_id 1, "quoted"; it''s text', '1111111111111111111111111111111111111111111111111111111111111111', 'code_version 1, "quoted"; it''s text', '2005-06-01 06:01:00', false),
('2005-06', '25003', 'logistic', '2005-05-0a0b0c0d', true, 0.6436, 0.57924, 517, 'B', 'retrospective', 'run_id 2, "quoted"; it''s text', '2222222222222222222222222222222222222222222222222222222222222222', 'code_version 2, "quoted"; it''s text', '2005-06-01 06:02:00', false),
('2005-06', '25003', 'blend', '2005-05-0a0b0c0d', false, 0.6807, 0.61263, NULL, NULL, 'retrospective', 'run_id 2, "quoted"; it''s text', '2222222222222222222222222222222222222222222222222222222222222222', 'code_version 2, "quoted"; it''s text', '2005-06-01 06:02:00', NULL),
('2005-06', 'Ü-7', 'logistic', '2005-05-0a0b0c0d', true, 0.7178, 0.64602, 519, 'D', 'retrospective', 'run_id 2, "quoted"; it''s text', '2222222222222222222222222222222222222222222222222222222222222222', 'code_version 2, "quoted"; it''s text', '2005-06-01 06:02:00', false),
('2005-06', 'Ü-7', 'blend', '2005-05-0a0b0c0d', false, 0.7549, 0.67941, NULL, NULL, 'retrospective', 'run_id 2, "quoted"; it''s text', '2222222222222222222222222222222222222222222222222222222222222222', 'code_version 2, "quoted"; it''s text', '2005-06-01 06:02:00', NULL),
('2005-06', 'c''3', 'logistic', '2005-05-0a0b0c0d', true, 0.792, 0.7128, 521, 'B', 'retrospective', 'run_id 2, "quoted"; it''s text', '2222222222222222222222222222222222222222222222222222222222222222', 'code_version 2, "quoted"; it''s text', '2005-06-01 06:02:00', true),
('2005-06', 'c''3', 'blend', '2005-05-0a0b0c0d', false, 0.8291, 0.74619, NULL, NULL, 'retrospective', 'run_id 2, "quoted"; it''s text', '2222222222222222222222222222222222222222222222222222222222222222', 'code_version 2, "quoted"; it''s text', '2005-06-01 06:02:00', NULL),
('2005-06', '<b>', 'logistic', '2005-05-0a0b0c0d', true, 0.8662, 0.77958, 523, 'D', 'retrospective', 'run_id 2, "quoted"; it''s text', '2222222222222222222222222222222222222222222222222222222222222222', 'code_version 2, "quoted"; it''s text', '2005-06-01 06:02:00', false),
('2005-06', '<b>', 'blend', '2005-05-0a0b0c0d', false, 0.9033, 0.81297, NULL, NULL, 'retrospective', 'run_id 2, "quoted"; it''s text', '2222222222222222222222222222222222222222222222222222222222222222', 'code_version 2, "quoted"; it''s text', '2005-06-01 06:02:00', NULL);

CREATE TABLE scores_history("month" VARCHAR, client_id VARCHAR, model VARCHAR, "version" VARCHAR, is_champion BOOLEAN, score DOUBLE, pd DOUBLE, points SMALLINT, grade VARCHAR, basis VARCHAR, run_id VARCHAR, file_sha256 VARCHAR, code_version VARCHAR, scored_at TIMESTAMP, superseded_by_run VARCHAR, flagged BOOLEAN);
INSERT INTO scores_history VALUES
('2005-04', '25003', 'logistic', '2005-05-0a0b0c0d', true, 0.1, 0.1, 0, 'A', 'basis 0, "quoted"; it''s text', 'run_id 0, "quoted"; it''s text', '0000000000000000000000000000000000000000000000000000000000000000', 'code_version 0, "quoted"; it''s text', '2005-06-01 06:00:00', 'superseded_by_run 0, "quoted"; it''s text', true),
('2005-05', 'Ü-7', 'blend', '2005-05-1a1b0c1d', false, 0.242857, 0.242857, 1, 'B', 'basis 1, "quoted"; it''s text', 'run_id 1, "quoted"; it''s text', '1111111111111111111111111111111111111111111111111111111111111111', 'code_version 1, "quoted"; it''s text', '2005-06-01 06:01:00', 'superseded_by_run 1, "quoted"; it''s text', false),
('2005-06', 'c''3', 'logistic', '2005-05-0a0b0c0d', true, 0.385714, 0.385714, 2, 'C', 'basis 2, "quoted"; it''s text', 'run_id 2, "quoted"; it''s text', '2222222222222222222222222222222222222222222222222222222222222222', 'code_version 2, "quoted"; it''s text', '2005-06-01 06:02:00', 'superseded_by_run 2, "quoted"; it''s text', true),
('2005-04', '<b>', 'blend', '2005-05-1a1b0c1d', false, 0.528571, 0.528571, 3, 'D', 'basis 3, "quoted"; it''s text', 'run_id 3, "quoted"; it''s text', '3333333333333333333333333333333333333333333333333333333333333333', 'code_version 3, "quoted"; it''s text', '2005-06-01 06:03:00', 'superseded_by_run 3, "quoted"; it''s text', false),
('2005-05', '0001', 'logistic', '2005-05-0a0b0c0d', true, 0.671429, 0.671429, 4, 'E', 'basis 4, "quoted"; it''s text', 'run_id 4, "quoted"; it''s text', '4444444444444444444444444444444444444444444444444444444444444444', 'code_version 4, "quoted"; it''s text', '2005-06-01 06:04:00', 'superseded_by_run 4, "quoted"; it''s text', true),
('2005-06', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE drift("month" VARCHAR NOT NULL, "name" VARCHAR NOT NULL, statistic VARCHAR NOT NULL, "value" DOUBLE, band VARCHAR NOT NULL, reference_rows BIGINT NOT NULL, current_rows BIGINT NOT NULL, model VARCHAR NOT NULL, "version" VARCHAR NOT NULL, reason VARCHAR, CHECK((statistic IN ('psi', 'csi'))));
INSERT INTO drift VALUES
('2005-04', 'name 0, "quoted"; it''s text', 'psi', 0.1, 'band 0, "quoted"; it''s text', 1, 1, 'logistic', '2005-05-0a0b0c0d', 'reason 0, "quoted"; it''s text'),
('2005-05', 'name 1, "quoted"; it''s text', 'csi', 0.242857, 'band 1, "quoted"; it''s text', 2, 2, 'blend', '2005-05-1a1b0c1d', 'reason 1, "quoted"; it''s text'),
('2005-06', 'name 2, "quoted"; it''s text', 'psi', 0.385714, 'band 2, "quoted"; it''s text', 3, 3, 'logistic', '2005-05-0a0b0c0d', 'reason 2, "quoted"; it''s text'),
('2005-04', 'name 3, "quoted"; it''s text', 'csi', 0.528571, 'band 3, "quoted"; it''s text', 4, 4, 'blend', '2005-05-1a1b0c1d', 'reason 3, "quoted"; it''s text'),
('2005-05', 'name 4, "quoted"; it''s text', 'psi', 0.671429, 'band 4, "quoted"; it''s text', 5, 5, 'logistic', '2005-05-0a0b0c0d', 'reason 4, "quoted"; it''s text'),
('2005-06', 'name 5, "quoted"; it''s text', 'csi', NULL, 'band 5, "quoted"; it''s text', 6, 6, 'blend', '2005-05-1a1b0c1d', NULL);

CREATE TABLE drift_bins("month" VARCHAR NOT NULL, "name" VARCHAR NOT NULL, bin INTEGER NOT NULL, "label" VARCHAR NOT NULL, reference_share DOUBLE NOT NULL, current_share DOUBLE NOT NULL, contribution DOUBLE NOT NULL);
INSERT INTO drift_bins VALUES
('2005-04', 'name 0, "quoted"; it''s text', 1, 'label 0, "quoted"; it''s text', 0.1, 0.1, 0.1),
('2005-05', 'name 1, "quoted"; it''s text', 2, 'label 1, "quoted"; it''s text', 0.242857, 0.242857, 0.242857),
('2005-06', 'name 2, "quoted"; it''s text', 3, 'label 2, "quoted"; it''s text', 0.385714, 0.385714, 0.385714),
('2005-04', 'name 3, "quoted"; it''s text', 4, 'label 3, "quoted"; it''s text', 0.528571, 0.528571, 0.528571),
('2005-05', 'name 4, "quoted"; it''s text', 5, 'label 4, "quoted"; it''s text', 0.671429, 0.671429, 0.671429),
('2005-06', 'name 5, "quoted"; it''s text', 6, 'label 5, "quoted"; it''s text', 0.814286, 0.814286, 0.814286);

CREATE TABLE runs(run_id VARCHAR NOT NULL, "month" VARCHAR NOT NULL, command VARCHAR NOT NULL, status VARCHAR NOT NULL, started_at TIMESTAMP NOT NULL, ended_at TIMESTAMP, code_version VARCHAR NOT NULL, fingerprint VARCHAR, message VARCHAR, backfill_id VARCHAR, pid BIGINT NOT NULL, facts VARCHAR, CHECK((status IN ('running', 'done', 'refused', 'failed', 'killed'))));
INSERT INTO runs VALUES
('run_id 0, "quoted"; it''s text', '2005-04', 'command 0, "quoted"; it''s text', 'running', '2005-06-01 06:00:00', '2005-06-01 06:00:00', 'code_version 0, "quoted"; it''s text', 'fingerprint 0, "quoted"; it''s text', 'message 0, "quoted"; it''s text', 'backfill_id 0, "quoted"; it''s text', 1, '{"files": {"clients": "0000"}, "code": "x, ""quoted""; it''s text"}'),
('run_id 1, "quoted"; it''s text', '2005-05', 'command 1, "quoted"; it''s text', 'done', '2005-06-01 06:01:00', '2005-06-01 06:01:00', 'code_version 1, "quoted"; it''s text', 'fingerprint 1, "quoted"; it''s text', 'message 1, "quoted"; it''s text', 'backfill_id 1, "quoted"; it''s text', 2, '{"files": {"clients": "0000"}, "code": "x, ""quoted""; it''s text"}'),
('run_id 2, "quoted"; it''s text', '2005-06', 'command 2, "quoted"; it''s text', 'refused', '2005-06-01 06:02:00', '2005-06-01 06:02:00', 'code_version 2, "quoted"; it''s text', 'fingerprint 2, "quoted"; it''s text', 'message 2, "quoted"; it''s text', 'backfill_id 2, "quoted"; it''s text', 3, '{"files": {"clients": "0000"}, "code": "x, ""quoted""; it''s text"}'),
('run_id 3, "quoted"; it''s text', '2005-04', 'command 3, "quoted"; it''s text', 'failed', '2005-06-01 06:03:00', '2005-06-01 06:03:00', 'code_version 3, "quoted"; it''s text', 'fingerprint 3, "quoted"; it''s text', 'message 3, "quoted"; it''s text', 'backfill_id 3, "quoted"; it''s text', 4, '{"files": {"clients": "0000"}, "code": "x, ""quoted""; it''s text"}'),
('run_id 4, "quoted"; it''s text', '2005-05', 'command 4, "quoted"; it''s text', 'killed', '2005-06-01 06:04:00', '2005-06-01 06:04:00', 'code_version 4, "quoted"; it''s text', 'fingerprint 4, "quoted"; it''s text', 'message 4, "quoted"; it''s text', 'backfill_id 4, "quoted"; it''s text', 5, '{"files": {"clients": "0000"}, "code": "x, ""quoted""; it''s text"}'),
('run_id 5, "quoted"; it''s text', '2005-06', 'command 5, "quoted"; it''s text', 'running', '2005-06-01 06:05:00', NULL, 'code_version 5, "quoted"; it''s text', NULL, NULL, NULL, 6, '{"files": {"clients": "0000"}, "code": "x, ""quoted""; it''s text"}');

CREATE TABLE backfills(backfill_id VARCHAR NOT NULL, first_month VARCHAR NOT NULL, last_month VARCHAR NOT NULL, reason VARCHAR NOT NULL, requested_by VARCHAR NOT NULL, started_at TIMESTAMP NOT NULL, ended_at TIMESTAMP, result VARCHAR, as_of VARCHAR DEFAULT('then'));
INSERT INTO backfills VALUES
('backfill_id 0, "quoted"; it''s text', '2005-04', '2005-04', 'reason 0, "quoted"; it''s text', 'requested_by 0, "quoted"; it''s text', '2005-06-01 06:00:00', '2005-06-01 06:00:00', 'result 0, "quoted"; it''s text', 'now'),
('backfill_id 1, "quoted"; it''s text', '2005-05', '2005-05', 'reason 1, "quoted"; it''s text', 'requested_by 1, "quoted"; it''s text', '2005-06-01 06:01:00', '2005-06-01 06:01:00', 'result 1, "quoted"; it''s text', 'then'),
('backfill_id 2, "quoted"; it''s text', '2005-06', '2005-06', 'reason 2, "quoted"; it''s text', 'requested_by 2, "quoted"; it''s text', '2005-06-01 06:02:00', '2005-06-01 06:02:00', 'result 2, "quoted"; it''s text', 'then'),
('backfill_id 3, "quoted"; it''s text', '2005-04', '2005-04', 'reason 3, "quoted"; it''s text', 'requested_by 3, "quoted"; it''s text', '2005-06-01 06:03:00', '2005-06-01 06:03:00', 'result 3, "quoted"; it''s text', 'then'),
('backfill_id 4, "quoted"; it''s text', '2005-05', '2005-05', 'reason 4, "quoted"; it''s text', 'requested_by 4, "quoted"; it''s text', '2005-06-01 06:04:00', '2005-06-01 06:04:00', 'result 4, "quoted"; it''s text', 'then'),
('backfill_id 5, "quoted"; it''s text', '2005-06', '2005-06', 'reason 5, "quoted"; it''s text', 'requested_by 5, "quoted"; it''s text', '2005-06-01 06:05:00', NULL, NULL, 'then');

CREATE TABLE stage_timings(run_id VARCHAR NOT NULL, "month" VARCHAR NOT NULL, stage VARCHAR NOT NULL, "seconds" DOUBLE NOT NULL, "rows" BIGINT, peak_rss_bytes BIGINT NOT NULL);
INSERT INTO stage_timings VALUES
('run_id 0, "quoted"; it''s text', '2005-04', 'stage 0, "quoted"; it''s text', 0.1, 1, 1),
('run_id 1, "quoted"; it''s text', '2005-05', 'stage 1, "quoted"; it''s text', 0.242857, 2, 2),
('run_id 2, "quoted"; it''s text', '2005-06', 'stage 2, "quoted"; it''s text', 0.385714, 3, 3),
('run_id 3, "quoted"; it''s text', '2005-04', 'stage 3, "quoted"; it''s text', 0.528571, 4, 4),
('run_id 4, "quoted"; it''s text', '2005-05', 'stage 4, "quoted"; it''s text', 0.671429, 5, 5),
('run_id 5, "quoted"; it''s text', '2005-06', 'stage 5, "quoted"; it''s text', 0.814286, NULL, 6);

CREATE TABLE retrain_rules("month" VARCHAR NOT NULL, "position" INTEGER NOT NULL, "rule" VARCHAR NOT NULL, "value" VARCHAR NOT NULL, threshold VARCHAR NOT NULL, met BOOLEAN, reason VARCHAR NOT NULL);
INSERT INTO retrain_rules VALUES
('2005-04', 1, 'rule 0, "quoted"; it''s text', 'value 0, "quoted"; it''s text', 'threshold 0, "quoted"; it''s text', true, 'reason 0, "quoted"; it''s text'),
('2005-05', 2, 'rule 1, "quoted"; it''s text', 'value 1, "quoted"; it''s text', 'threshold 1, "quoted"; it''s text', false, 'reason 1, "quoted"; it''s text'),
('2005-06', 3, 'rule 2, "quoted"; it''s text', 'value 2, "quoted"; it''s text', 'threshold 2, "quoted"; it''s text', true, 'reason 2, "quoted"; it''s text'),
('2005-04', 4, 'rule 3, "quoted"; it''s text', 'value 3, "quoted"; it''s text', 'threshold 3, "quoted"; it''s text', false, 'reason 3, "quoted"; it''s text'),
('2005-05', 5, 'rule 4, "quoted"; it''s text', 'value 4, "quoted"; it''s text', 'threshold 4, "quoted"; it''s text', true, 'reason 4, "quoted"; it''s text'),
('2005-06', 6, 'rule 5, "quoted"; it''s text', 'value 5, "quoted"; it''s text', 'threshold 5, "quoted"; it''s text', NULL, 'reason 5, "quoted"; it''s text');

CREATE TABLE gate_checks("month" VARCHAR NOT NULL, "position" INTEGER NOT NULL, model VARCHAR NOT NULL, "version" VARCHAR NOT NULL, champion VARCHAR, champion_version VARCHAR, sample_month VARCHAR, clients BIGINT, defaulters BIGINT, "name" VARCHAR NOT NULL, "value" DOUBLE, low DOUBLE, high DOUBLE, threshold DOUBLE, passed BOOLEAN, reason VARCHAR NOT NULL);
INSERT INTO gate_checks VALUES
('2005-04', 1, 'logistic', '2005-05-0a0b0c0d', 'logistic', '2005-05-0a0b0c0d', '2005-04', 1, 1, 'name 0, "quoted"; it''s text', 0.1, 0.1, 0.1, 0.1, true, 'reason 0, "quoted"; it''s text'),
('2005-05', 2, 'blend', '2005-05-1a1b0c1d', 'blend', '2005-05-1a1b0c1d', '2005-05', 2, 2, 'name 1, "quoted"; it''s text', 0.242857, 0.242857, 0.242857, 0.242857, false, 'reason 1, "quoted"; it''s text'),
('2005-06', 3, 'logistic', '2005-05-0a0b0c0d', 'logistic', '2005-05-0a0b0c0d', '2005-06', 3, 3, 'name 2, "quoted"; it''s text', 0.385714, 0.385714, 0.385714, 0.385714, true, 'reason 2, "quoted"; it''s text'),
('2005-04', 4, 'blend', '2005-05-1a1b0c1d', 'blend', '2005-05-1a1b0c1d', '2005-04', 4, 4, 'name 3, "quoted"; it''s text', 0.528571, 0.528571, 0.528571, 0.528571, false, 'reason 3, "quoted"; it''s text'),
('2005-05', 5, 'logistic', '2005-05-0a0b0c0d', 'logistic', '2005-05-0a0b0c0d', '2005-05', 5, 5, 'name 4, "quoted"; it''s text', 0.671429, 0.671429, 0.671429, 0.671429, true, 'reason 4, "quoted"; it''s text'),
('2005-06', 6, 'blend', '2005-05-1a1b0c1d', NULL, NULL, '2005-06', NULL, NULL, 'name 5, "quoted"; it''s text', NULL, NULL, NULL, NULL, NULL, 'reason 5, "quoted"; it''s text');

CREATE TABLE promotions(promotion_id VARCHAR NOT NULL, "month" VARCHAR NOT NULL, "action" VARCHAR NOT NULL, model VARCHAR NOT NULL, "version" VARCHAR NOT NULL, from_model VARCHAR, from_version VARCHAR, reason VARCHAR NOT NULL, decided_by VARCHAR NOT NULL, decided_at TIMESTAMP NOT NULL, run_id VARCHAR, CHECK(("action" IN ('first', 'gate', 'replacement', 'promote', 'rollback'))));
INSERT INTO promotions VALUES
('promotion_id 0, "quoted"; it''s text', '2005-04', 'first', 'logistic', '2005-05-0a0b0c0d', 'logistic', '2005-05-0a0b0c0d', 'reason 0, "quoted"; it''s text', 'decided_by 0, "quoted"; it''s text', '2005-06-01 06:00:00', 'run_id 0, "quoted"; it''s text'),
('promotion_id 1, "quoted"; it''s text', '2005-05', 'gate', 'blend', '2005-05-1a1b0c1d', 'blend', '2005-05-1a1b0c1d', 'reason 1, "quoted"; it''s text', 'decided_by 1, "quoted"; it''s text', '2005-06-01 06:01:00', 'run_id 1, "quoted"; it''s text'),
('promotion_id 2, "quoted"; it''s text', '2005-06', 'replacement', 'logistic', '2005-05-0a0b0c0d', 'logistic', '2005-05-0a0b0c0d', 'reason 2, "quoted"; it''s text', 'decided_by 2, "quoted"; it''s text', '2005-06-01 06:02:00', 'run_id 2, "quoted"; it''s text'),
('promotion_id 3, "quoted"; it''s text', '2005-04', 'promote', 'blend', '2005-05-1a1b0c1d', 'blend', '2005-05-1a1b0c1d', 'reason 3, "quoted"; it''s text', 'decided_by 3, "quoted"; it''s text', '2005-06-01 06:03:00', 'run_id 3, "quoted"; it''s text'),
('promotion_id 4, "quoted"; it''s text', '2005-05', 'rollback', 'logistic', '2005-05-0a0b0c0d', 'logistic', '2005-05-0a0b0c0d', 'reason 4, "quoted"; it''s text', 'decided_by 4, "quoted"; it''s text', '2005-06-01 06:04:00', 'run_id 4, "quoted"; it''s text'),
('promotion_id 5, "quoted"; it''s text', '2005-06', 'first', 'blend', '2005-05-1a1b0c1d', NULL, NULL, 'reason 5, "quoted"; it''s text', 'decided_by 5, "quoted"; it''s text', '2005-06-01 06:05:00', NULL);

CREATE TABLE reasons("month" VARCHAR NOT NULL, client_id VARCHAR NOT NULL, model VARCHAR NOT NULL, "version" VARCHAR NOT NULL, base_log_odds DOUBLE, reason_1 VARCHAR, contribution_1 DOUBLE, reason_2 VARCHAR, contribution_2 DOUBLE, reason_3 VARCHAR, contribution_3 DOUBLE, reason_4 VARCHAR, contribution_4 DOUBLE, unusual_1 VARCHAR, deformation_1 DOUBLE, unusual_2 VARCHAR, deformation_2 DOUBLE, unusual_3 VARCHAR, deformation_3 DOUBLE);
INSERT INTO reasons VALUES
('2005-04', '25003', 'logistic', '2005-05-0a0b0c0d', 0.1, 'reason_1 0, "quoted"; it''s text', 0.1, 'reason_2 0, "quoted"; it''s text', 0.1, 'reason_3 0, "quoted"; it''s text', 0.1, 'reason_4 0, "quoted"; it''s text', 0.1, 'unusual_1 0, "quoted"; it''s text', 0.1, 'unusual_2 0, "quoted"; it''s text', 0.1, 'unusual_3 0, "quoted"; it''s text', 0.1),
('2005-05', 'Ü-7', 'blend', '2005-05-1a1b0c1d', 0.242857, 'reason_1 1, "quoted"; it''s text', 0.242857, 'reason_2 1, "quoted"; it''s text', 0.242857, 'reason_3 1, "quoted"; it''s text', 0.242857, 'reason_4 1, "quoted"; it''s text', 0.242857, 'unusual_1 1, "quoted"; it''s text', 0.242857, 'unusual_2 1, "quoted"; it''s text', 0.242857, 'unusual_3 1, "quoted"; it''s text', 0.242857),
('2005-06', 'c''3', 'logistic', '2005-05-0a0b0c0d', 0.385714, 'reason_1 2, "quoted"; it''s text', 0.385714, 'reason_2 2, "quoted"; it''s text', 0.385714, 'reason_3 2, "quoted"; it''s text', 0.385714, 'reason_4 2, "quoted"; it''s text', 0.385714, 'unusual_1 2, "quoted"; it''s text', 0.385714, 'unusual_2 2, "quoted"; it''s text', 0.385714, 'unusual_3 2, "quoted"; it''s text', 0.385714),
('2005-04', '<b>', 'blend', '2005-05-1a1b0c1d', 0.528571, 'reason_1 3, "quoted"; it''s text', 0.528571, 'reason_2 3, "quoted"; it''s text', 0.528571, 'reason_3 3, "quoted"; it''s text', 0.528571, 'reason_4 3, "quoted"; it''s text', 0.528571, 'unusual_1 3, "quoted"; it''s text', 0.528571, 'unusual_2 3, "quoted"; it''s text', 0.528571, 'unusual_3 3, "quoted"; it''s text', 0.528571),
('2005-05', '0001', 'logistic', '2005-05-0a0b0c0d', 0.671429, 'reason_1 4, "quoted"; it''s text', 0.671429, 'reason_2 4, "quoted"; it''s text', 0.671429, 'reason_3 4, "quoted"; it''s text', 0.671429, 'reason_4 4, "quoted"; it''s text', 0.671429, 'unusual_1 4, "quoted"; it''s text', 0.671429, 'unusual_2 4, "quoted"; it''s text', 0.671429, 'unusual_3 4, "quoted"; it''s text', 0.671429),
('2005-06', 'x y', 'blend', '2005-05-1a1b0c1d', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE reason_texts(code VARCHAR NOT NULL, reason VARCHAR NOT NULL, meaning VARCHAR NOT NULL);
INSERT INTO reason_texts VALUES
('code 0, "quoted"; it''s text', 'reason 0, "quoted"; it''s text', 'meaning 0, "quoted"; it''s text'),
('code 1, "quoted"; it''s text', 'reason 1, "quoted"; it''s text', 'meaning 1, "quoted"; it''s text'),
('code 2, "quoted"; it''s text', 'reason 2, "quoted"; it''s text', 'meaning 2, "quoted"; it''s text'),
('code 3, "quoted"; it''s text', 'reason 3, "quoted"; it''s text', 'meaning 3, "quoted"; it''s text'),
('code 4, "quoted"; it''s text', 'reason 4, "quoted"; it''s text', 'meaning 4, "quoted"; it''s text'),
('code 5, "quoted"; it''s text', 'reason 5, "quoted"; it''s text', 'meaning 5, "quoted"; it''s text');

CREATE TABLE backfill_months(backfill_id VARCHAR NOT NULL, "month" VARCHAR NOT NULL, outcome VARCHAR NOT NULL, message VARCHAR NOT NULL, "seconds" DOUBLE NOT NULL, ended_at TIMESTAMP NOT NULL, CHECK((outcome IN ('done', 'unchanged', 'failed'))));
INSERT INTO backfill_months VALUES
('backfill_id 0, x, "quoted"; it''s text', '2005-04', 'done', 'message 0, x, "quoted"; it''s text', 0.1, '2005-06-01 06:00:00'),
('backfill_id 1, x, "quoted"; it''s text', '2005-05', 'unchanged', 'message 1, x, "quoted"; it''s text', 0.242857, '2005-06-01 06:01:00'),
('backfill_id 2, x, "quoted"; it''s text', '2005-06', 'failed', 'message 2, x, "quoted"; it''s text', 0.385714, '2005-06-01 06:02:00'),
('backfill_id 3, x, "quoted"; it''s text', '2005-04', 'done', 'message 3, x, "quoted"; it''s text', 0.528571, '2005-06-01 06:03:00'),
('backfill_id 4, x, "quoted"; it''s text', '2005-05', 'unchanged', 'message 4, x, "quoted"; it''s text', 0.671429, '2005-06-01 06:04:00'),
('backfill_id 5, x, "quoted"; it''s text', '2005-06', 'failed', 'message 5, x, "quoted"; it''s text', 0.814286, '2005-06-01 06:05:00');

CREATE TABLE alerts(run_id VARCHAR NOT NULL, "month" VARCHAR NOT NULL, "position" INTEGER NOT NULL, "rule" VARCHAR NOT NULL, severity VARCHAR NOT NULL, state VARCHAR NOT NULL, about_month VARCHAR, "value" DOUBLE, threshold DOUBLE, message VARCHAR NOT NULL, remedy VARCHAR NOT NULL, evaluated_at TIMESTAMP NOT NULL, told VARCHAR, CHECK((severity IN ('critical', 'warning', 'info'))), CHECK((state IN ('raised', 'clear', 'not run'))), CHECK((told IN ('sent', 'before', 'below', 'nobody', 'failed'))));
INSERT INTO alerts VALUES
('run_id 0, x, "quoted"; it''s text', '2005-04', 0, 'rule 0, x, "quoted"; it''s text', 'critical', 'raised', '2005-04', 0.1, 0.2, 'message 0, x, "quoted"; it''s text', 'remedy 0, x, "quoted"; it''s text', '2005-06-01 06:00:00', NULL),
('run_id 1, x, "quoted"; it''s text', '2005-05', 1, 'rule 1, x, "quoted"; it''s text', 'warning', 'clear', '2005-05', 0.242857, 0.342857, 'message 1, x, "quoted"; it''s text', 'remedy 1, x, "quoted"; it''s text', '2005-06-01 06:01:00', 'sent'),
('run_id 2, x, "quoted"; it''s text', '2005-06', 2, 'rule 2, x, "quoted"; it''s text', 'info', 'not run', '2005-06', 0.385714, 0.485714, 'message 2, x, "quoted"; it''s text', 'remedy 2, x, "quoted"; it''s text', '2005-06-01 06:02:00', 'nobody'),
('run_id 3, x, "quoted"; it''s text', '2005-04', 3, 'rule 3, x, "quoted"; it''s text', 'critical', 'raised', '2005-04', 0.528571, 0.628571, 'message 3, x, "quoted"; it''s text', 'remedy 3, x, "quoted"; it''s text', '2005-06-01 06:03:00', NULL),
('run_id 4, x, "quoted"; it''s text', '2005-05', 4, 'rule 4, x, "quoted"; it''s text', 'warning', 'clear', '2005-05', 0.671429, 0.771429, 'message 4, x, "quoted"; it''s text', 'remedy 4, x, "quoted"; it''s text', '2005-06-01 06:04:00', 'sent'),
('run_id 5, x, "quoted"; it''s text', '2005-06', 5, 'rule 5, x, "quoted"; it''s text', 'info', 'not run', '2005-06', 0.814286, 0.914286, 'message 5, x, "quoted"; it''s text', 'remedy 5, x, "quoted"; it''s text', '2005-06-01 06:05:00', 'nobody');

CREATE TABLE alert_messages(run_id VARCHAR NOT NULL, "month" VARCHAR NOT NULL, "rule" VARCHAR NOT NULL, severity VARCHAR NOT NULL, topic VARCHAR NOT NULL, receiver VARCHAR NOT NULL, outcome VARCHAR NOT NULL, message VARCHAR, told_at TIMESTAMP NOT NULL, CHECK((outcome IN ('sent', 'failed'))));
INSERT INTO alert_messages VALUES
('run_id 0, x, "quoted"; it''s text', '2005-04', 'rule 0, x, "quoted"; it''s text', 'critical', 'topic 0', 'receiver 0, x, "quoted"; it''s text', 'sent', 'message 0, x, "quoted"; it''s text', '2005-06-01 06:00:00'),
('run_id 1, x, "quoted"; it''s text', '2005-05', 'rule 1, x, "quoted"; it''s text', 'warning', 'topic 1', 'receiver 1, x, "quoted"; it''s text', 'failed', 'message 1, x, "quoted"; it''s text', '2005-06-01 06:01:00'),
('run_id 2, x, "quoted"; it''s text', '2005-06', 'rule 2, x, "quoted"; it''s text', 'info', 'topic 2', 'receiver 2, x, "quoted"; it''s text', 'sent', 'message 2, x, "quoted"; it''s text', '2005-06-01 06:02:00'),
('run_id 3, x, "quoted"; it''s text', '2005-04', 'rule 3, x, "quoted"; it''s text', 'critical', 'topic 3', 'receiver 3, x, "quoted"; it''s text', 'failed', 'message 3, x, "quoted"; it''s text', '2005-06-01 06:03:00'),
('run_id 4, x, "quoted"; it''s text', '2005-05', 'rule 4, x, "quoted"; it''s text', 'warning', 'topic 4', 'receiver 4, x, "quoted"; it''s text', 'sent', 'message 4, x, "quoted"; it''s text', '2005-06-01 06:04:00'),
('run_id 5, x, "quoted"; it''s text', '2005-06', 'rule 5, x, "quoted"; it''s text', 'info', 'topic 5', 'receiver 5, x, "quoted"; it''s text', 'failed', 'message 5, x, "quoted"; it''s text', '2005-06-01 06:05:00');

CREATE TABLE performance("month" VARCHAR NOT NULL, model VARCHAR NOT NULL, "version" VARCHAR NOT NULL, "sample" VARCHAR NOT NULL, basis VARCHAR NOT NULL, metric VARCHAR NOT NULL, "value" DOUBLE, clients BIGINT NOT NULL, defaulters BIGINT, reason VARCHAR, CHECK(("sample" IN ('held_out', 'estimated', 'realised'))));
INSERT INTO performance VALUES
('2005-04', 'logistic', '2005-05-0a0b0c0d', 'held_out', 'basis 0, "quoted"; it''s text', 'metric 0, "quoted"; it''s text', 0.1, 1, 1, 'reason 0, "quoted"; it''s text'),
('2005-05', 'blend', '2005-05-1a1b0c1d', 'realised', 'basis 1, "quoted"; it''s text', 'metric 1, "quoted"; it''s text', 0.242857, 2, 2, 'reason 1, "quoted"; it''s text'),
('2005-06', 'logistic', '2005-05-0a0b0c0d', 'held_out', 'basis 2, "quoted"; it''s text', 'metric 2, "quoted"; it''s text', 0.385714, 3, 3, 'reason 2, "quoted"; it''s text'),
('2005-04', 'blend', '2005-05-1a1b0c1d', 'realised', 'basis 3, "quoted"; it''s text', 'metric 3, "quoted"; it''s text', 0.528571, 4, 4, 'reason 3, "quoted"; it''s text'),
('2005-05', 'logistic', '2005-05-0a0b0c0d', 'held_out', 'basis 4, "quoted"; it''s text', 'metric 4, "quoted"; it''s text', 0.671429, 5, 5, 'reason 4, "quoted"; it''s text'),
('2005-06', 'blend', '2005-05-1a1b0c1d', 'realised', 'basis 5, "quoted"; it''s text', 'metric 5, "quoted"; it''s text', NULL, 6, 6, NULL),
('2005-04', 'logistic', '2005-05-0a0b0c0d', 'estimated', 'basis 0, "quoted"; it''s text', 'metric 0, "quoted"; it''s text', 0.1, 1, 1, 'reason 0, "quoted"; it''s text');

CREATE TABLE derived("month" VARCHAR NOT NULL, product VARCHAR NOT NULL, made_from VARCHAR NOT NULL, CHECK((product IN ('scores', 'drift', 'estimates', 'performance', 'report'))));
INSERT INTO derived VALUES
('2005-04', 'scores', 'made_from 0, "quoted"; it''s text'),
('2005-05', 'drift', 'made_from 1, "quoted"; it''s text'),
('2005-04', 'report', 'made_from 3, "quoted"; it''s text'),
('2005-05', 'scores', 'made_from 4, "quoted"; it''s text'),
('2005-06', 'drift', 'made_from 5, "quoted"; it''s text'),
('2005-04', 'estimates', 'made_from 9'),
('2005-06', 'performance', 'made_from 2, "quoted"; it''s text');

CREATE TABLE validation("month" VARCHAR NOT NULL, model VARCHAR NOT NULL, "version" VARCHAR NOT NULL, basis VARCHAR NOT NULL, statistic VARCHAR NOT NULL, "value" DOUBLE, low DOUBLE, high DOUBLE, test_statistic DOUBLE, p_value DOUBLE, degrees INTEGER, clients BIGINT NOT NULL, defaulters BIGINT NOT NULL, reason VARCHAR);
INSERT INTO validation VALUES
('2005-04', 'logistic', '2005-05-0a0b0c0d', 'basis 0, "quoted"; it''s text', 'statistic 0, "quoted"; it''s text', 0.1, 0.1, 0.1, 0.1, 0.1, 1, 1, 1, 'reason 0, "quoted"; it''s text'),
('2005-05', 'blend', '2005-05-1a1b0c1d', 'basis 1, "quoted"; it''s text', 'statistic 1, "quoted"; it''s text', 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 2, 2, 2, 'reason 1, "quoted"; it''s text'),
('2005-06', 'logistic', '2005-05-0a0b0c0d', 'basis 2, "quoted"; it''s text', 'statistic 2, "quoted"; it''s text', 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 3, 3, 3, 'reason 2, "quoted"; it''s text'),
('2005-04', 'blend', '2005-05-1a1b0c1d', 'basis 3, "quoted"; it''s text', 'statistic 3, "quoted"; it''s text', 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 4, 4, 4, 'reason 3, "quoted"; it''s text'),
('2005-05', 'logistic', '2005-05-0a0b0c0d', 'basis 4, "quoted"; it''s text', 'statistic 4, "quoted"; it''s text', 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 5, 5, 5, 'reason 4, "quoted"; it''s text'),
('2005-06', 'blend', '2005-05-1a1b0c1d', 'basis 5, "quoted"; it''s text', 'statistic 5, "quoted"; it''s text', NULL, NULL, NULL, NULL, NULL, NULL, 6, 6, NULL);

CREATE TABLE calibration("month" VARCHAR NOT NULL, model VARCHAR NOT NULL, "version" VARCHAR NOT NULL, basis VARCHAR NOT NULL, "grouping" VARCHAR NOT NULL, "position" INTEGER NOT NULL, group_label VARCHAR NOT NULL, clients BIGINT NOT NULL, defaulters BIGINT NOT NULL, expected DOUBLE NOT NULL, mean_pd DOUBLE NOT NULL, low_pd DOUBLE NOT NULL, high_pd DOUBLE NOT NULL, default_rate DOUBLE NOT NULL, rate_low DOUBLE, rate_high DOUBLE, binomial_p DOUBLE, jeffreys_p DOUBLE, CHECK(("grouping" IN ('grade', 'tenth'))));
INSERT INTO calibration VALUES
('2005-04', 'logistic', '2005-05-0a0b0c0d', 'basis 0, "quoted"; it''s text', 'grade', 1, 'group_label 0, "quoted"; it''s text', 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1),
('2005-05', 'blend', '2005-05-1a1b0c1d', 'basis 1, "quoted"; it''s text', 'tenth', 2, 'group_label 1, "quoted"; it''s text', 2, 2, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857),
('2005-06', 'logistic', '2005-05-0a0b0c0d', 'basis 2, "quoted"; it''s text', 'grade', 3, 'group_label 2, "quoted"; it''s text', 3, 3, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714),
('2005-04', 'blend', '2005-05-1a1b0c1d', 'basis 3, "quoted"; it''s text', 'tenth', 4, 'group_label 3, "quoted"; it''s text', 4, 4, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571),
('2005-05', 'logistic', '2005-05-0a0b0c0d', 'basis 4, "quoted"; it''s text', 'grade', 5, 'group_label 4, "quoted"; it''s text', 5, 5, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429),
('2005-06', 'blend', '2005-05-1a1b0c1d', 'basis 5, "quoted"; it''s text', 'tenth', 6, 'group_label 5, "quoted"; it''s text', 6, 6, 0.814286, 0.814286, 0.814286, 0.814286, 0.814286, NULL, NULL, NULL, NULL);

CREATE TABLE comparisons("month" VARCHAR NOT NULL, model VARCHAR NOT NULL, "version" VARCHAR NOT NULL, champion VARCHAR NOT NULL, champion_version VARCHAR NOT NULL, statistic VARCHAR NOT NULL, "value" DOUBLE, champion_value DOUBLE, difference DOUBLE, low DOUBLE, high DOUBLE, p_value DOUBLE, clients BIGINT NOT NULL, defaulters BIGINT NOT NULL, reason VARCHAR, CHECK((statistic IN ('roc_auc', 'brier'))));
INSERT INTO comparisons VALUES
('2005-04', 'logistic', '2005-05-0a0b0c0d', 'logistic', '2005-05-0a0b0c0d', 'roc_auc', 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 1, 1, 'reason 0, "quoted"; it''s text'),
('2005-05', 'blend', '2005-05-1a1b0c1d', 'blend', '2005-05-1a1b0c1d', 'brier', 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 2, 2, 'reason 1, "quoted"; it''s text'),
('2005-06', 'logistic', '2005-05-0a0b0c0d', 'logistic', '2005-05-0a0b0c0d', 'roc_auc', 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 3, 3, 'reason 2, "quoted"; it''s text'),
('2005-04', 'blend', '2005-05-1a1b0c1d', 'blend', '2005-05-1a1b0c1d', 'brier', 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 4, 4, 'reason 3, "quoted"; it''s text'),
('2005-05', 'logistic', '2005-05-0a0b0c0d', 'logistic', '2005-05-0a0b0c0d', 'roc_auc', 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 5, 5, 'reason 4, "quoted"; it''s text'),
('2005-06', 'blend', '2005-05-1a1b0c1d', 'blend', '2005-05-1a1b0c1d', 'brier', NULL, NULL, NULL, NULL, NULL, NULL, 6, 6, NULL);

CREATE TABLE segments("month" VARCHAR NOT NULL, model VARCHAR NOT NULL, "version" VARCHAR NOT NULL, dimension VARCHAR NOT NULL, kind VARCHAR NOT NULL, "position" INTEGER NOT NULL, group_label VARCHAR NOT NULL, clients BIGINT NOT NULL, known BIGINT NOT NULL, defaulters BIGINT NOT NULL, flagged BIGINT, mean_pd DOUBLE NOT NULL, expected DOUBLE, default_rate DOUBLE, rate_low DOUBLE, rate_high DOUBLE, jeffreys_p DOUBLE, auc DOUBLE, auc_low DOUBLE, auc_high DOUBLE, reason VARCHAR, CHECK((kind IN ('segment', 'protected'))));
INSERT INTO segments VALUES
('2005-04', 'logistic', '2005-05-0a0b0c0d', 'dimension 0, "quoted"; it''s text', 'segment', 1, 'group_label 0, "quoted"; it''s text', 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 'reason 0, "quoted"; it''s text'),
('2005-05', 'blend', '2005-05-1a1b0c1d', 'dimension 1, "quoted"; it''s text', 'protected', 2, 'group_label 1, "quoted"; it''s text', 2, 2, 2, 2, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 0.242857, 'reason 1, "quoted"; it''s text'),
('2005-06', 'logistic', '2005-05-0a0b0c0d', 'dimension 2, "quoted"; it''s text', 'segment', 3, 'group_label 2, "quoted"; it''s text', 3, 3, 3, 3, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 0.385714, 'reason 2, "quoted"; it''s text'),
('2005-04', 'blend', '2005-05-1a1b0c1d', 'dimension 3, "quoted"; it''s text', 'protected', 4, 'group_label 3, "quoted"; it''s text', 4, 4, 4, 4, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 0.528571, 'reason 3, "quoted"; it''s text'),
('2005-05', 'logistic', '2005-05-0a0b0c0d', 'dimension 4, "quoted"; it''s text', 'segment', 5, 'group_label 4, "quoted"; it''s text', 5, 5, 5, 5, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 0.671429, 'reason 4, "quoted"; it''s text'),
('2005-06', 'blend', '2005-05-1a1b0c1d', 'dimension 5, "quoted"; it''s text', 'protected', 6, 'group_label 5, "quoted"; it''s text', 6, 6, 6, NULL, 0.814286, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE fairness("month" VARCHAR NOT NULL, model VARCHAR NOT NULL, "version" VARCHAR NOT NULL, "attribute" VARCHAR NOT NULL, "position" INTEGER NOT NULL, group_label VARCHAR NOT NULL, reference_group VARCHAR NOT NULL, measure VARCHAR NOT NULL, "value" DOUBLE, low DOUBLE, high DOUBLE, clients BIGINT NOT NULL, reason VARCHAR);
INSERT INTO fairness VALUES
('2005-04', 'logistic', '2005-05-0a0b0c0d', 'attribute 0, "quoted"; it''s text', 1, 'group_label 0, "quoted"; it''s text', 'reference_group 0, "quoted"; it''s text', 'measure 0, "quoted"; it''s text', 0.1, 0.1, 0.1, 1, 'reason 0, "quoted"; it''s text'),
('2005-05', 'blend', '2005-05-1a1b0c1d', 'attribute 1, "quoted"; it''s text', 2, 'group_label 1, "quoted"; it''s text', 'reference_group 1, "quoted"; it''s text', 'measure 1, "quoted"; it''s text', 0.242857, 0.242857, 0.242857, 2, 'reason 1, "quoted"; it''s text'),
('2005-06', 'logistic', '2005-05-0a0b0c0d', 'attribute 2, "quoted"; it''s text', 3, 'group_label 2, "quoted"; it''s text', 'reference_group 2, "quoted"; it''s text', 'measure 2, "quoted"; it''s text', 0.385714, 0.385714, 0.385714, 3, 'reason 2, "quoted"; it''s text'),
('2005-04', 'blend', '2005-05-1a1b0c1d', 'attribute 3, "quoted"; it''s text', 4, 'group_label 3, "quoted"; it''s text', 'reference_group 3, "quoted"; it''s text', 'measure 3, "quoted"; it''s text', 0.528571, 0.528571, 0.528571, 4, 'reason 3, "quoted"; it''s text'),
('2005-05', 'logistic', '2005-05-0a0b0c0d', 'attribute 4, "quoted"; it''s text', 5, 'group_label 4, "quoted"; it''s text', 'reference_group 4, "quoted"; it''s text', 'measure 4, "quoted"; it''s text', 0.671429, 0.671429, 0.671429, 5, 'reason 4, "quoted"; it''s text'),
('2005-06', 'blend', '2005-05-1a1b0c1d', 'attribute 5, "quoted"; it''s text', 6, 'group_label 5, "quoted"; it''s text', 'reference_group 5, "quoted"; it''s text', 'measure 5, "quoted"; it''s text', NULL, NULL, NULL, 6, NULL);

CREATE VIEW current_alerts AS WITH wholes AS (SELECT "month", arg_max(run_id, evaluated_at) AS run_id, max(evaluated_at) AS evaluated_at FROM alerts WHERE ((("rule" != 'run_failed') OR (state != 'raised')) AND (NOT starts_with(run_id, 'look-'))) GROUP BY "month") SELECT a.* FROM (alerts AS a LEFT JOIN wholes AS w ON ((a."month" = w."month"))) WHERE ((w.run_id IS NULL) OR (a.run_id = w.run_id) OR (a.evaluated_at > w.evaluated_at)) QUALIFY (row_number() OVER (PARTITION BY a."month", a."rule" ORDER BY a.evaluated_at DESC, a.run_id DESC) = 1);

CREATE VIEW named_champions AS (SELECT "month", 'run' AS "action", champion AS model, "version", reason, decided_at FROM decisions WHERE (champion IS NOT NULL)) UNION ALL (SELECT "month", "action", model, "version", reason, decided_at FROM promotions WHERE ("action" IN ('promote', 'rollback')));
