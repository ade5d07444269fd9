-- Writes down what a product of a month was made from. Owner: tasks/monitor.py, tasks/publish.py.
INSERT INTO derived BY NAME
SELECT
    $month AS month,
    $product AS product,
    $made_from AS made_from
