-- Makes room for a set of models that is developed again to the same version. Owner: tasks/develop.py.
DELETE FROM models
WHERE version = $version
