-- How many clients of a month are scored, and which months are. Grain: one row. Owner: tasks/explain.py.
SELECT
    (SELECT count(*) FROM score_rows WHERE month = $month AND is_champion) AS scored,
    min(month) AS first_month, max(month) AS last_month
FROM scorings
WHERE champion IS NOT NULL
