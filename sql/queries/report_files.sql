-- Every file taken for the month, superseded revisions included. Grain: one row per kind and revision.
-- Owner: tasks.reports.
SELECT
    kind, file_name, file_sha256, bytes, revision, is_current, has_label,
    received, accepted, quarantined, code_version, run_id, loaded_at
FROM files
WHERE month = $month
ORDER BY kind, revision
