"""Generates the pages of docs/ that follow from the code: `make docs`. A test fails when one is stale."""

import tempfile
from pathlib import Path

from flows.settings import Settings
from sql.publish import publish
from sql.warehouse import open_published, open_warehouse

CHECKOUT = Path(__file__).resolve().parent.parent
_HEAD = "<!-- Written by `make docs`; do not edit. -->\n"


def data_dictionary() -> str:
    """Every table, view and column of the published database, from its own comments."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "creditflow.duckdb"
        with open_warehouse(Path(folder) / "warehouse.duckdb") as con:
            publish(con, target)
        with open_published(target) as con:
            tables = con.execute(
                "SELECT table_name, comment FROM duckdb_tables() WHERE NOT internal "
                "UNION ALL SELECT view_name, comment FROM duckdb_views() WHERE NOT internal"
            ).fetchall()
            columns = con.execute(
                "SELECT table_name, column_name, data_type, comment FROM duckdb_columns() "
                "WHERE NOT internal ORDER BY table_name, column_index"
            ).fetchall()
    parts = [_HEAD, "# Data dictionary\n", "The tables and views of `published/creditflow.duckdb`.\n"]
    for table, meaning in tables:
        parts += [f"\n## {table}\n", f"{meaning}\n", "| column | type | meaning |\n| --- | --- | --- |"]
        parts += [f"| `{c}` | {kind} | {what} |" for t, c, kind, what in columns if t == table]
    return "\n".join(parts) + "\n"


def environment_example() -> str:
    """Every setting with its default and description, as `.env.example`."""
    lines = ["# Settings of creditflow. Copy to .env and uncomment what you change.", ""]
    for name, field in Settings.model_fields.items():
        default = "var" if name == "home" else "" if field.default is None else field.default
        lines += [f"# {field.description}", f"# CREDITFLOW_{name.upper()}={default}", ""]
    return "\n".join(lines)


PAGES = {
    CHECKOUT / "docs" / "data-dictionary.md": data_dictionary,
    CHECKOUT / ".env.example": environment_example,
}


def main() -> None:
    """Writes every generated page."""
    for path, write in PAGES.items():
        path.write_text(write(), "utf-8")


if __name__ == "__main__":
    main()
