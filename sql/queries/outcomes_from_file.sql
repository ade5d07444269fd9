-- Whether a month's outcomes come from a file of their own, which outranks a label column. Owner: tasks/load.py.
SELECT file_sha256
FROM files
WHERE month = $month AND kind = 'outcomes' AND is_current
