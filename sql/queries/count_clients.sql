-- Rows and distinct clients of a month. Grain: one row. Owner: tasks/load.py.
SELECT
    count(*) AS rows,
    count(DISTINCT client_id) AS ids
FROM clients
WHERE month = $month
