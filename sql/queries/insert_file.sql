-- Registers a file as its month's current revision. Owner: tasks/load.py.
INSERT INTO files BY NAME
SELECT
    $month AS month,
    $kind AS kind,
    $sha256 AS file_sha256,
    $file_name AS file_name,
    $bytes::BIGINT AS bytes,
    $revision AS revision,
    TRUE AS is_current,
    $has_label AS has_label,
    $received::BIGINT AS received,
    $accepted::BIGINT AS accepted,
    $quarantined::BIGINT AS quarantined,
    $code_version AS code_version,
    $run_id AS run_id,
    $loaded_at::TIMESTAMP AS loaded_at
