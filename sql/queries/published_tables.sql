-- Tables and views of the published database with what each holds. Grain: table or view. Owner: flows/sql_cli.py.
SELECT
    table_name AS name,
    'table' AS kind,
    estimated_size AS rows,
    comment AS holds
FROM duckdb_tables()
WHERE NOT internal
UNION ALL
SELECT
    view_name AS name,
    'view' AS kind,
    NULL AS rows,
    comment AS holds
FROM duckdb_views()
WHERE NOT internal
ORDER BY kind DESC, name
