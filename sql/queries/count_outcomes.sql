-- Rows and distinct clients of a month's outcomes. Grain: one row. Owner: tasks/load.py.
SELECT
    count(*) AS rows,
    count(DISTINCT client_id) AS ids
FROM outcomes
WHERE month = $month
