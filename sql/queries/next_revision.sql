-- The revision of a content within its month: its own if it is current, else the next. Owner: tasks/load.py.
SELECT
    coalesce(
        max(revision) FILTER (WHERE is_current AND file_sha256 = $sha256),
        coalesce(max(revision), 0) + 1
    ) AS revision
FROM files
WHERE month = $month AND kind = $kind
