-- What the champion's PDs promise where they are right: default rate, Brier score, and ROC AUC over all pairs.
-- Grain: at most one row. Owner: readers.
WITH levels AS (
    SELECT pd, count(*) AS clients, sum(pd) AS bad, sum(1 - pd) AS good
    FROM scores WHERE month = $month AND is_champion GROUP BY pd
),
ranked AS (
    SELECT
        clients, bad, good, pd, sum(good) OVER (ORDER BY pd) - good AS good_below,
        sum(bad) OVER () * sum(good) OVER () - sum(clients * pd * (1 - pd)) OVER () AS pairs
    FROM levels
)
SELECT
    sum(bad) / sum(clients) AS default_rate, sum(clients * pd * (1 - pd)) / sum(clients) AS brier,
    -- A client makes no pair with itself.
    (sum(bad * (good_below + good / 2)) - sum(clients * pd * (1 - pd)) / 2) / any_value(pairs) AS roc_auc
FROM ranked
WHERE pairs > 0
