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

paired AS (
    SELECT
        client_id,
        arg_max(pd, scored_at) FILTER (WHERE model = $model_a AND version = $version_a) AS pd_a,
        arg_max(pd, scored_at) FILTER (WHERE model = $model_b AND version = $version_b) AS pd_b,
        arg_max(basis, scored_at) FILTER (WHERE model = $model_a AND version = $version_a) AS basis_a,
        arg_max(basis, scored_at) FILTER (WHERE model = $model_b AND version = $version_b) AS basis_b
    FROM kept
    GROUP BY client_id
)

SELECT
    o.defaulted,
    p.pd_a,
    p.pd_b,
    p.basis_a,
    p.basis_b
FROM paired AS p
INNER JOIN outcomes AS o ON p.client_id = o.client_id
WHERE o.month = $month AND p.pd_a IS NOT NULL AND p.pd_b IS NOT NULL
ORDER BY p.client_id
