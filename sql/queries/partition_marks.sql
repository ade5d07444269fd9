-- What each month of each large table was written by. Every write of a month's partition stands in one transaction
-- with a new row of `files` (a load) or with new scores (a scoring), so that equal marks mean equal rows.
-- Grain: table and month. Owner: sql/publish.py.
WITH loads AS (
    SELECT
        month,
        string_agg(load, ' ' ORDER BY load) FILTER (WHERE kind = 'clients') AS of_clients,
        string_agg(load, ' ' ORDER BY load) AS of_both
    FROM (
        SELECT
            month,
            kind,
            concat_ws('/', kind, revision, file_sha256, is_current, run_id, code_version, loaded_at) AS load
        FROM files
    ) AS loaded
    GROUP BY month
),

scorings AS (
    SELECT
        month,
        count(*) AS rows,
        concat_ws('/', min(run_id), max(run_id), min(scored_at), max(scored_at)) AS scoring
    FROM scores
    GROUP BY month
),

replaced AS (
    SELECT
        month,
        count(*) AS rows,
        concat_ws('/', min(superseded_by_run), max(superseded_by_run)) AS replacement
    FROM scores_history
    GROUP BY month
),

marked AS (
    SELECT
        'clients' AS table_name,
        month,
        p.rows,
        l.of_clients AS mark
    FROM (SELECT month, count(*) AS rows FROM clients GROUP BY month) AS p
    LEFT JOIN loads AS l USING (month)
    UNION ALL
    SELECT
        'outcomes' AS table_name,
        month,
        p.rows,
        l.of_both AS mark
    FROM (SELECT month, count(*) AS rows FROM outcomes GROUP BY month) AS p
    LEFT JOIN loads AS l USING (month)
    UNION ALL
    SELECT
        'quarantine' AS table_name,
        month,
        p.rows,
        l.of_both AS mark
    FROM (SELECT month, count(*) AS rows FROM quarantine GROUP BY month) AS p
    LEFT JOIN loads AS l USING (month)
    UNION ALL
    SELECT
        'expectation_results' AS table_name,
        month,
        p.rows,
        l.of_both AS mark
    FROM (SELECT month, count(*) AS rows FROM expectation_results GROUP BY month) AS p
    LEFT JOIN loads AS l USING (month)
    UNION ALL
    SELECT
        'scores' AS table_name,
        month,
        rows,
        scoring AS mark
    FROM scorings
    UNION ALL
    SELECT
        'reasons' AS table_name,
        month,
        p.rows,
        s.scoring AS mark
    FROM (SELECT month, count(*) AS rows FROM reasons GROUP BY month) AS p
    LEFT JOIN scorings AS s USING (month)
    UNION ALL
    SELECT
        'scores_history' AS table_name,
        month,
        rows,
        replacement AS mark
    FROM replaced
)

SELECT
    table_name,
    month,
    rows,
    md5(concat_ws(' ', rows, mark)) AS mark
FROM marked
ORDER BY table_name, month
