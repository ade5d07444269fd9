-- Empties a month's partition of clients. Owner: tasks/load.py.
DELETE FROM clients
WHERE month = $month
