-- What all scores of a month have in common is stored once a month. Readers find both joined in `scores`, whose
-- columns are those of the table before.

-- One row per month that is scored: what made its scores, which a scoring replaces whole. `basis` says how to read
-- them: 'live' (scored with a model that knew nothing of this month), 'in_sample' (this month's outcomes were
-- trained on), 'retrospective' (scored after the month, when a first champion existed). `champion` is the model
-- of the rows that say so, null without any. The key costs nothing here, unlike on tables of clients.
CREATE TABLE scorings (
    month VARCHAR PRIMARY KEY,
    champion VARCHAR,
    version VARCHAR NOT NULL,
    basis VARCHAR NOT NULL CHECK (basis IN ('live', 'in_sample', 'retrospective')),
    run_id VARCHAR NOT NULL,
    file_sha256 VARCHAR NOT NULL,
    code_version VARCHAR NOT NULL,
    scored_at TIMESTAMP NOT NULL
);

-- Rows of a month have always been written by one statement, so that all say the same. Should somebody have added
-- others, the newest scoring stays, and theirs are kept with the scores that it replaced.
INSERT INTO scorings BY NAME
SELECT
    month,
    max(model) FILTER (WHERE is_champion) AS champion,
    version,
    basis,
    run_id,
    file_sha256,
    code_version,
    scored_at
FROM scores
GROUP BY month, version, basis, run_id, file_sha256, code_version, scored_at
QUALIFY
    row_number() OVER (
        PARTITION BY month
        ORDER BY scored_at DESC, run_id DESC, version DESC, basis DESC, file_sha256 DESC, code_version DESC
    ) = 1;

INSERT INTO scores_history BY NAME
WITH others AS (
    SELECT s.*
    FROM scores AS s
    ANTI JOIN scorings USING (month, version, basis, run_id, file_sha256, code_version, scored_at)
)

SELECT
    others.*,
    newest.run_id AS superseded_by_run
FROM others
INNER JOIN scorings AS newest ON others.month = newest.month;

DELETE FROM scores
WHERE NOT EXISTS (
    SELECT 1
    FROM scorings AS g
    WHERE
        g.month = scores.month
        AND g.version = scores.version
        AND g.basis = scores.basis
        AND g.run_id = scores.run_id
        AND g.file_sha256 = scores.file_sha256
        AND g.code_version = scores.code_version
        AND g.scored_at = scores.scored_at
);

-- One row per month, client and model, model by model.
CREATE TABLE score_rows (
    month VARCHAR NOT NULL,
    client_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    is_champion BOOLEAN NOT NULL,
    score DOUBLE NOT NULL,
    pd DOUBLE NOT NULL,
    points SMALLINT,
    grade VARCHAR,
    flagged BOOLEAN
);

-- Without a join, which would not keep the rows in their order.
INSERT INTO score_rows BY NAME
SELECT
    month,
    client_id,
    model,
    is_champion,
    score,
    pd,
    points,
    grade,
    flagged
FROM scores;

DROP TABLE scores;

CREATE VIEW scores AS
SELECT
    r.month,
    r.client_id,
    r.model,
    g.version,
    r.is_champion,
    r.score,
    r.pd,
    r.points,
    r.grade,
    g.basis,
    g.run_id,
    g.file_sha256,
    g.code_version,
    g.scored_at,
    r.flagged
FROM score_rows AS r
INNER JOIN scorings AS g ON r.month = g.month;
