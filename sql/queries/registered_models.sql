-- Every model of the registry, newest set first, with how it did where it was held out and in the newest month
-- that it scored live and whose outcomes are known. Grain: model and version. Owner: tasks/registry.py.
WITH held_out AS (
    SELECT
        model,
        version,
        max(value) FILTER (WHERE metric = 'roc_auc') AS roc_auc,
        max(value) FILTER (WHERE metric = 'brier') AS brier
    FROM performance
    WHERE sample = 'held_out'
    GROUP BY model, version
),

realised AS (
    SELECT
        model,
        version,
        arg_max(value, month) AS roc_auc,
        max(month) AS month
    FROM performance
    WHERE sample = 'realised' AND basis = 'live' AND metric = 'roc_auc' AND value IS NOT NULL
    GROUP BY model, version
),

held_to_gate AS (
    SELECT DISTINCT
        model,
        version,
        'refused' AS gate
    FROM gate_checks
),

promoted AS (
    SELECT
        model,
        version,
        string_agg(action || ' ' || month, ', ' ORDER BY month, decided_at) AS became
    FROM promotions
    GROUP BY model, version
)

SELECT
    m.model,
    m.version,
    m.month,
    m.training_months,
    m.training_rows,
    m.training_defaulters,
    m.attributes,
    m.calibrator,
    m.cut_off,
    coalesce(p.became, g.gate) AS gate,
    h.roc_auc AS held_out_roc_auc,
    h.brier AS held_out_brier,
    r.roc_auc AS live_roc_auc,
    r.month AS live_month
FROM models AS m
LEFT JOIN held_out AS h ON m.model = h.model AND m.version = h.version
LEFT JOIN realised AS r ON m.model = r.model AND m.version = r.version
LEFT JOIN held_to_gate AS g ON m.model = g.model AND m.version = g.version
LEFT JOIN promoted AS p ON m.model = p.model AND m.version = p.version
ORDER BY
    m.month DESC,
    max(m.trained_at) OVER (PARTITION BY m.version) DESC,
    m.version ASC,
    h.roc_auc DESC,
    m.model ASC
