"""Opens creditflow's databases, migrates the writer's one and runs named queries on it.

The writer's database is private: DuckDB lets one process write or many read. Readers get a copy that
`sql.publish` replaces by rename.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from creditflow.errors import (
    CreditflowError,
    HomeLocked,
    HomeUnusable,
    QueryFailed,
    WarehouseCorrupt,
    WarehouseNewer,
)
from sql.library import Script, query, scripts

# No network: DuckDB would otherwise fetch extensions that a query names.
_OFFLINE = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
_FULL = ("no space left", "disk full", "could not write", "read-only file system", "permission denied")


# ── Opening ─────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def open_warehouse(
    path: Path, *, memory_limit: str | None = None, threads: int | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The writer's database, created and migrated where need be, closed at the end of the block.

    Raises:
        HomeLocked: another process has the file open.
        HomeUnusable: the disk is full, read-only or not permitted.
        WarehouseCorrupt: the file is no DuckDB database, or a block of it is damaged.
        WarehouseNewer: the file was migrated by a newer creditflow.
    """
    with translated_errors(path):
        config = {**_OFFLINE, "temp_directory": str(path.with_suffix(".tmp"))}
        limits = {"memory_limit": memory_limit, "threads": threads}
        config |= {name: str(value) for name, value in limits.items() if value is not None}
        con = duckdb.connect(str(path), config=config)  # type: ignore[arg-type]
        try:
            con.execute("SET enable_progress_bar = false")
            migrate(con, path)
            yield con
        finally:
            con.close()


@contextmanager
def open_published(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The readers' database, read-only.

    Raises:
        HomeUnusable: nothing has been published yet.
        WarehouseCorrupt: the file is damaged.
    """
    if not path.is_file():
        raise HomeUnusable(
            str(path),
            expected="a published database",
            found="none",
            remedy="Run a month first: creditflow run MONTH, or creditflow demo.",
        )
    with translated_errors(path):
        con = duckdb.connect(str(path), read_only=True, config=_OFFLINE)  # type: ignore[arg-type]
        try:
            con.execute("SET enable_progress_bar = false")
            yield con
        finally:
            con.close()


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Turns DuckDB's storage errors into creditflow's, naming the file and the way to recover."""
    try:
        yield
    except duckdb.Error as error:
        known = _storage_error(path, str(error))
        if known is None:
            raise
        raise known from error


def _storage_error(path: Path, text: str) -> CreditflowError | None:
    lowered = text.lower()
    first_line = text.splitlines()[0] if text else ""
    if "could not set lock" in lowered:
        return HomeLocked(
            str(path),
            expected="no other process with the database open",
            found=first_line,
            remedy="Wait for that process to end; readers open published/creditflow.duckdb instead.",
        )
    if "not a valid duckdb database" in lowered or "corrupt" in lowered or "checksum" in lowered:
        return WarehouseCorrupt(
            str(path),
            expected="an intact DuckDB database",
            found=first_line,
            remedy="Move the file away, restore it from a backup or leave it out, "
            "and rebuild from the inbox: creditflow backfill FIRST LAST --reason recovery.",
        )
    if any(sign in lowered for sign in _FULL):
        return HomeUnusable(
            str(path),
            expected="a writable disk with space left",
            found=first_line,
            remedy="Free space or point CREDITFLOW_HOME elsewhere, then run again.",
        )
    return None


# ── Migrations ──────────────────────────────────────────────────────────────────────────────────


def migrate(con: duckdb.DuckDBPyConnection, path: Path) -> list[str]:
    """Applies the pending migrations, each together with its record in one transaction.

    Returns:
        The names applied now, in order.
    """
    con.execute(
        "CREATE TABLE IF NOT EXISTS migrations (name VARCHAR NOT NULL, applied_at TIMESTAMP NOT NULL)"
    )
    applied = {name for (name,) in con.execute("SELECT name FROM migrations").fetchall()}
    known = scripts("migrations")
    _refuse_newer(path, applied - {script.name for script in known})
    pending = [script for script in known if script.name not in applied]
    for script in pending:
        _apply(con, script)
    return [script.name for script in pending]


def _refuse_newer(path: Path, unknown: set[str]) -> None:
    if unknown:
        raise WarehouseNewer(
            str(path),
            expected="a database that this creditflow knows",
            found=f"migrations of a newer one: {', '.join(sorted(unknown))}",
            remedy="Upgrade creditflow, or restore the database that belongs to this version.",
        )


def _apply(con: duckdb.DuckDBPyConnection, script: Script) -> None:
    with transaction(con):
        con.execute(script.text)
        con.execute("INSERT INTO migrations VALUES ($name, now()::TIMESTAMP)", {"name": script.name})


# ── Running ─────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All of the block or nothing of it."""
    con.execute("BEGIN")
    try:
        yield
    except BaseException:
        con.execute("ROLLBACK")
        raise
    con.execute("COMMIT")


def execute(con: duckdb.DuckDBPyConnection, name: str, **values: Any) -> list[tuple[Any, ...]]:
    """Runs `queries/NAME.sql` with bound values and returns its rows."""
    return con.execute(query(name), values or None).fetchall()


def frame(con: duckdb.DuckDBPyConnection, name: str, **values: Any) -> pl.DataFrame:
    """The result of `queries/NAME.sql` as a polars frame."""
    return con.sql(query(name), params=values or None).pl()


def ask(con: duckdb.DuckDBPyConnection, text: str) -> pl.DataFrame:
    """The result of an analyst's own query.

    Raises:
        QueryFailed: DuckDB refuses the text, or it holds no query.
    """
    try:
        relation = con.sql(text)
    except duckdb.Error as error:
        raise _refused_query(str(error)) from error
    if relation is None:
        raise _refused_query("a statement without a result")
    try:
        return relation.pl()
    except duckdb.Error as error:
        raise _refused_query(str(error)) from error


def _refused_query(found: str) -> QueryFailed:
    return QueryFailed(
        "query",
        expected="one SELECT that DuckDB accepts on the published database",
        found=found,
        remedy="creditflow sql 'SHOW TABLES' lists what there is.",
    )
