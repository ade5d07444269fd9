-- Every scored month with its champion and the runs that its clients, scores and outcomes came from: what its
-- snapshots are made of. Only from tables that readers have too. Grain: month. Owner: tasks/reports/workspace.py.
WITH loads AS (
    SELECT
        month,
        any_value(run_id) FILTER (WHERE kind = 'clients') AS clients_run,
        any_value(run_id) FILTER (WHERE kind = 'outcomes') AS outcomes_run
    FROM files
    WHERE is_current
    GROUP BY month
),

counted AS (
    SELECT
        month,
        count(*) AS scored
    FROM score_rows
    WHERE is_champion
    GROUP BY month
)

SELECT
    s.month,
    s.champion AS model,
    s.version,
    m.manifest_sha256,
    l.clients_run,
    s.run_id AS scores_run,
    l.outcomes_run,
    c.scored
FROM scorings AS s
INNER JOIN counted AS c ON s.month = c.month
INNER JOIN models AS m ON s.champion = m.model AND s.version = m.version
LEFT JOIN loads AS l ON s.month = l.month
ORDER BY s.month
