"""Publishes the readers' database: the tables and views that analysts query, replaced by rename.

A reader that has the earlier file open keeps it until it closes; nobody sees half a month.
"""

import os
from pathlib import Path

import duckdb

from sql.glossary import comment
from sql.library import scripts
from sql.warehouse import translated_errors

TABLES = (
    "files",
    "clients",
    "outcomes",
    "quarantine",
    "expectation_results",
    "models",
    "decisions",
    "retrain_rules",
    "gate_checks",
    "promotions",
    "scores",
    "scores_history",
    "reasons",
    "reason_texts",
    "drift",
    "drift_bins",
    "performance",
    "alerts",
    "runs",
    "backfills",
    "backfill_months",
    "stage_timings",
)
# Readable by clients from DuckDB 1.4 on; the default storage of 2.0 is not.
STORAGE_VERSION = "v1.4.0"


def publish(con: duckdb.DuckDBPyConnection, target: Path) -> Path:
    """Writes a new database beside `target` and renames it into place.

    Raises:
        HomeUnusable: the disk is full, read-only or not permitted.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    try:
        with translated_errors(target):
            own_views = _copy_tables(con, fresh)
            _add_views(fresh, own_views)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
    return target


def _copy_tables(con: duckdb.DuckDBPyConnection, fresh: Path) -> list[str]:
    """Returns the statements of the writer's own views, which readers get too."""
    quoted = str(fresh).replace("'", "''")
    con.execute(f"ATTACH '{quoted}' AS published (STORAGE_VERSION '{STORAGE_VERSION}')")
    try:
        for table in TABLES:
            con.execute(f"CREATE TABLE published.{table} AS FROM {table}")
        views = con.sql("SELECT sql FROM duckdb_views() WHERE NOT internal").fetchall()
    finally:
        con.execute("DETACH published")
    return [statement for (statement,) in views]


def _add_views(fresh: Path, own_views: list[str]) -> None:
    # A connection of its own, so that no view remembers the name of the file while it was new.
    with duckdb.connect(str(fresh)) as con:
        for statement in [*own_views, *(view.text for view in scripts("views"))]:
            con.execute(statement)
        comment(con)
        con.execute("CHECKPOINT")
