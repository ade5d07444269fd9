-- The months that have a current client file, in order. One row a month. Owner: tasks/backup.py.
SELECT DISTINCT month
FROM files
WHERE is_current AND kind = 'clients'
ORDER BY month
