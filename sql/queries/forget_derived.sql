-- Makes room for what a product of a month was made from. Owner: tasks/monitor.py, tasks/publish.py.
DELETE FROM derived
WHERE month = $month AND product = $product
