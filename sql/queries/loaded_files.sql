-- Content that months use now, to notice one file sent for two months. Grain: file. Owner: tasks/load.py.
SELECT
    file_sha256,
    kind,
    month
FROM files
WHERE is_current
