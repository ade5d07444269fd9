-- ROC AUC, Gini and Kolmogorov-Smirnov distance of the champion on the month's outcomes, ties counted half.
-- Grain: at most one row. Owner: readers.
WITH known AS (
    SELECT s.pd, o.defaulted
    FROM scores AS s
    INNER JOIN outcomes AS o ON o.month = $month AND o.client_id = s.client_id
    WHERE s.month = $month AND s.is_champion
),
levels AS (
    SELECT pd, sum(defaulted) AS bad, sum(1 - defaulted) AS good FROM known GROUP BY pd
),
ranked AS (
    SELECT
        bad, good, sum(good) OVER (ORDER BY pd) - good AS good_below,
        sum(bad) OVER (ORDER BY pd) AS bad_up_to, sum(good) OVER (ORDER BY pd) AS good_up_to,
        sum(bad) OVER () AS all_bad, sum(good) OVER () AS all_good
    FROM levels
)
SELECT
    sum(bad * (good_below + good / 2)) / any_value(all_bad * all_good) AS roc_auc,
    2 * sum(bad * (good_below + good / 2)) / any_value(all_bad * all_good) - 1 AS gini,
    max(abs(bad_up_to / all_bad - good_up_to / all_good)) AS ks
FROM ranked
WHERE all_bad > 0 AND all_good > 0
