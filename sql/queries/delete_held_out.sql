-- Makes room for the held-out metrics of a set that is developed again. Owner: tasks/develop.py.
DELETE FROM performance
WHERE version = $version AND sample = 'held_out'
