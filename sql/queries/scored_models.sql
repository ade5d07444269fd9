-- The models that scored a month. Grain: model. Owner: tasks/monitor.py.
WITH used AS (
    SELECT DISTINCT model
    FROM score_rows
    WHERE month = $month
)

SELECT
    used.model,
    s.version,
    s.basis
FROM used
INNER JOIN scorings AS s ON s.month = $month
ORDER BY used.model
