-- Which model separates best on outcomes that it had not seen?
SELECT
    month,
    model,
    clients,
    round(roc_auc, 4) AS roc_auc,
    round(ks, 4) AS ks,
    round(brier, 4) AS brier
FROM model_leaderboard
WHERE sample = 'realised' AND basis = 'live'
ORDER BY month, roc_auc DESC
