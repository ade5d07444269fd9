-- The newest month with loaded clients. Grain: one row, NULL where nothing is loaded. Owner: tasks/registry.py.
SELECT max(month) AS month
FROM files
WHERE kind = 'clients' AND is_current
