-- The file that a month uses now, of one kind. Grain: at most one row. Owner: tasks/load.py.
SELECT
    file_sha256,
    code_version,
    received,
    accepted,
    quarantined,
    revision
FROM files
WHERE month = $month AND kind = $kind AND is_current
