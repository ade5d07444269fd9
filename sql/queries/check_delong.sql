-- Standard error of the champion's ROC AUC by DeLong, DeLong & Clarke-Pearson (1988): the variance of each
-- defaulter's and each non-defaulter's placement. Grain: at most one row. Owner: readers.
WITH known AS (
    SELECT s.pd, o.defaulted
    FROM scores AS s
    INNER JOIN outcomes AS o ON o.month = $month AND o.client_id = s.client_id
    WHERE s.month = $month AND s.is_champion
),
levels AS (
    SELECT pd, sum(defaulted) AS bad, sum(1 - defaulted) AS good FROM known GROUP BY pd
),
places AS (
    SELECT
        pd, (sum(good) OVER w - good / 2) / sum(good) OVER () AS of_bad,
        1 - (sum(bad) OVER w - bad / 2) / sum(bad) OVER () AS of_good
    FROM levels WINDOW w AS (ORDER BY pd)
)
SELECT
    avg(p.of_bad) FILTER (WHERE k.defaulted = 1) AS roc_auc,
    sqrt(
        var_samp(p.of_bad) FILTER (WHERE k.defaulted = 1) / count(*) FILTER (WHERE k.defaulted = 1)
        + var_samp(p.of_good) FILTER (WHERE k.defaulted = 0) / count(*) FILTER (WHERE k.defaulted = 0)
    ) AS standard_error
FROM known AS k
INNER JOIN places AS p USING (pd)
