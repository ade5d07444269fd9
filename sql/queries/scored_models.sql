-- The models that scored a month, the champion first. Grain: model. Owner: tasks/monitor.py.
WITH used AS (
    SELECT DISTINCT
        model,
        is_champion
    FROM score_rows
    WHERE month = $month
)

SELECT
    used.model,
    s.version,
    s.basis,
    used.is_champion
FROM used
INNER JOIN scorings AS s ON s.month = $month
ORDER BY used.is_champion DESC, used.model
