-- Which files were sent more than once, and which of their contents do the months use?
SELECT
    month,
    kind,
    revision,
    is_current,
    file_name,
    accepted,
    quarantined,
    loaded_at
FROM files
WHERE (month, kind) IN (SELECT (f.month, f.kind) FROM files AS f WHERE f.revision > 1)
ORDER BY month, kind, revision
