-- Every model's figures side by side: held out when it was developed, estimated from its PDs month by month, and
-- realised on the outcomes, with its calibrator and the attributes that it may know.
-- Grain: month, sample, model and version. Owner: analysts.
CREATE OR REPLACE VIEW model_leaderboard AS
SELECT
    p.month,
    p.sample,
    p.basis,
    p.model,
    p.version,
    any_value(m.calibrator) AS calibrator,
    any_value(m.attributes) AS attributes,
    any_value(p.clients) AS clients,
    any_value(p.defaulters) AS defaulters,
    max(p.value) FILTER (WHERE p.metric = 'roc_auc') AS roc_auc,
    max(p.value) FILTER (WHERE p.metric = 'average_precision') AS average_precision,
    max(p.value) FILTER (WHERE p.metric = 'ks') AS ks,
    max(p.value) FILTER (WHERE p.metric = 'brier') AS brier,
    max(p.value) FILTER (WHERE p.metric = 'ece') AS ece
FROM performance AS p
LEFT JOIN models AS m ON p.model = m.model AND p.version = m.version
GROUP BY p.month, p.sample, p.basis, p.model, p.version
ORDER BY p.month, p.sample, roc_auc DESC;
