-- The months that each set scored, with its champion and whether any outcome is known. Drift is computed of every
-- scored month and is small, unlike the scores. Grain: one row per month. Owner: tasks.reports.
SELECT
    d.month, any_value(d.version) AS version, any_value(d.model) AS champion,
    d.month IN (SELECT DISTINCT month FROM files WHERE is_current AND (kind = 'outcomes' OR has_label)) AS has_outcomes
FROM drift AS d
GROUP BY d.month
ORDER BY d.month
