-- Months that two models scored and whose outcomes are known; replaced scores count too. Grain: month.
-- Owner: tasks/registry.py.
WITH kept AS (
    SELECT
        r.month,
        r.model,
        s.version
    FROM (SELECT DISTINCT month, model FROM score_rows) AS r
    INNER JOIN scorings AS s ON r.month = s.month
    UNION
    SELECT
        month,
        model,
        version
    FROM scores_history
)

SELECT month
FROM kept
WHERE month IN (SELECT o.month FROM outcomes AS o)
GROUP BY month
HAVING
    bool_or(model = $model_a AND version = $version_a)
    AND bool_or(model = $model_b AND version = $version_b)
ORDER BY month
