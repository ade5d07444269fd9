-- The newest month that its champion scored live and whose outcomes were known when the given month was due, with ROC
-- AUC realised and held out. Grain: at most one row. Owner: tasks/alerts.py.
WITH labelled AS (
    SELECT count(*) > 0 AS own
    FROM outcomes
    WHERE month = $month AND source = 'label'
),

realised AS (
    SELECT
        p.month,
        p.model,
        p.version,
        p.value,
        p.reason
    FROM performance AS p
    SEMI JOIN scorings AS s ON p.month = s.month AND p.model = s.champion AND p.version = s.version
    WHERE
        p.sample = 'realised' AND p.metric = 'roc_auc' AND p.basis = 'live'
        AND (p.month < $month OR (p.month = $month AND (SELECT own FROM labelled)))
    ORDER BY p.month DESC
    LIMIT 1
),

held_out AS (
    SELECT
        p.value,
        p.reason,
        p.clients,
        p.defaulters
    FROM performance AS p
    SEMI JOIN realised AS r ON p.model = r.model AND p.version = r.version
    WHERE p.sample = 'held_out' AND p.metric = 'roc_auc'
)

SELECT
    r.month,
    r.model,
    r.version,
    r.value AS auc,
    h.value AS auc_held_out,
    coalesce(r.reason, h.reason) AS reason,
    h.clients AS held_out_clients,
    h.defaulters AS held_out_defaulters
FROM realised AS r
LEFT JOIN held_out AS h ON true
