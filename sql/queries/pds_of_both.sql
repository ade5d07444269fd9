-- PDs of two models beside the truth, for a month's clients whom both scored; of replaced scores the newest.
-- Grain: client. Owner: tasks/registry.py.
WITH kept AS (
    SELECT
        client_id,
        model,
        version,
        pd,
        basis,
        scored_at
    FROM scores
    WHERE month = $month
    UNION ALL
    SELECT
        client_id,
        model,
        version,
        pd,
        basis,
        scored_at
    FROM scores_history
    WHERE month = $month
),

a AS (
    SELECT
        client_id,
        arg_max(pd, scored_at) AS pd,
        arg_max(basis, scored_at) AS basis
    FROM kept
    WHERE model = $model_a AND version = $version_a
    GROUP BY client_id
),

b AS (
    SELECT
        client_id,
        arg_max(pd, scored_at) AS pd,
        arg_max(basis, scored_at) AS basis
    FROM kept
    WHERE model = $model_b AND version = $version_b
    GROUP BY client_id
)

SELECT
    o.defaulted,
    a.pd AS pd_a,
    b.pd AS pd_b,
    a.basis AS basis_a,
    b.basis AS basis_b
FROM a
INNER JOIN b ON a.client_id = b.client_id
INNER JOIN outcomes AS o ON a.client_id = o.client_id
WHERE o.month = $month
ORDER BY a.client_id
