"""What every table, view and column of the published database means.

Meanings stand in `glossary.json`, one a column name; `table.column` overrides where a name means
something else. Those of the clients' attributes come from `creditflow.columns`.
"""

import json
from functools import cache
from pathlib import Path

import duckdb

from creditflow.columns import ATTRIBUTES
from sql.warehouse import quoted, transaction

_FILE = Path(__file__).with_name("glossary.json")


@cache
def _glossary() -> tuple[dict[str, str], dict[str, str]]:
    content = json.loads(_FILE.read_text("utf-8"))
    return content["tables"], {a.name: a.meaning for a in ATTRIBUTES} | content["columns"]


def table_meaning(table: str) -> str:
    """What a table or view holds, with its grain.

    Raises:
        KeyError: it is not in the glossary (a programming error that a test finds).
    """
    return _glossary()[0][table]


def column_meaning(table: str, column: str) -> str:
    """What a column holds.

    Raises:
        KeyError: it is not in the glossary (a programming error that a test finds).
    """
    columns = _glossary()[1]
    return columns.get(f"{table}.{column}") or columns[column]


def comment(con: duckdb.DuckDBPyConnection) -> None:
    """Writes the meanings into the database that `con` has open, as comments, in one transaction."""
    # Hundreds of statements: each alone would be a commit.
    with transaction(con):
        _comment_all(con)


def _comment_all(con: duckdb.DuckDBPyConnection) -> None:
    for (view,) in con.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall():
        con.execute(f"COMMENT ON VIEW {view} IS {quoted(table_meaning(view))}")
    for (table,) in con.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal").fetchall():
        con.execute(f"COMMENT ON TABLE {table} IS {quoted(table_meaning(table))}")
    columns = "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal"
    for table, column in con.execute(columns).fetchall():
        con.execute(f"COMMENT ON COLUMN {table}.{column} IS {quoted(column_meaning(table, column))}")
