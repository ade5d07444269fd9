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

champions AS (
    SELECT
        month,
        any_value(model) AS model,
        any_value(version) AS version,
        any_value(run_id) AS scores_run,
        count(*) AS scored
    FROM scores
    WHERE is_champion
    GROUP BY month
)

SELECT
    c.month,
    c.model,
    c.version,
    m.manifest_sha256,
    l.clients_run,
    c.scores_run,
    l.outcomes_run,
    c.scored
FROM champions AS c
INNER JOIN models AS m ON c.model = m.model AND c.version = m.version
LEFT JOIN loads AS l ON c.month = l.month
ORDER BY c.month
