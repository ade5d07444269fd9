-- Whether a month is scored, and which months are. Grain: one row. Owner: tasks/explain.py.
SELECT
    count(*) FILTER (WHERE month = $month) AS scored,
    min(month) AS first_month, max(month) AS last_month
FROM scores
WHERE is_champion
