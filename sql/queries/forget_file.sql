-- Makes room for the same revision loaded again by newer code. Owner: tasks/load.py.
DELETE FROM files
WHERE month = $month AND kind = $kind AND revision = $revision
