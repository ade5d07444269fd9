-- The rows set aside from one file. Owner: tasks/load.py.
INSERT INTO quarantine BY NAME
SELECT
    $month AS month,
    $kind AS kind,
    $sha256 AS file_sha256,
    row_number,
    client_id,
    rule,
    column_name,
    value,
    violations,
    raw_row
FROM read_parquet($path)
