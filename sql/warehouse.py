"""Opens creditflow's databases, migrates the writer's one and runs named queries on it.

The writer's database is private: DuckDB lets one process write or many read. Readers get a copy that
`sql.publish` replaces by rename.
"""

import os
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from creditflow.disk import put_in_place
from creditflow.errors import (
    CreditflowError,
    HomeLocked,
    HomeUnusable,
    MemoryLimitReached,
    WarehouseCorrupt,
    WarehouseNewer,
)
from sql.library import Script, query, scripts

if TYPE_CHECKING:
    import polars as pl

# Readable by clients from DuckDB 1.4 on, as 2.0's default is not: a publication is a copy of the file.
STORAGE_VERSION = "v1.4.0"
# Settings allow no limit below it.
LEAST_MEMORY = "256MB"
# No network: DuckDB would otherwise fetch extensions that a query names.
_OFFLINE = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
_STORAGE = {"storage_compatibility_version": STORAGE_VERSION}
_FULL = (
    "no space left",
    "disk full",
    "file too large",
    "could not write",
    "read-only file system",
    "permission denied",
    # The folder of the database is gone: a disk that was unmounted.
    "no such file or directory",
)


# ── Opening ─────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def open_warehouse(
    path: Path,
    *,
    memory_limit: str | None = None,
    threads: int | None = None,
    as_it_is: bool = False,
    read_only: bool = False,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The writer's database, created and migrated where need be, closed at the end of the block.

    `as_it_is` leaves a database of an earlier version as it is: a backup must not upgrade what it keeps.
    `read_only` leaves every byte: what a kill left in the log is read and not written back.

    Raises:
        HomeLocked: another process has the file open.
        HomeUnusable: the disk is full, read-only or not permitted.
        MemoryLimitReached: `memory_limit` is less than the work needs.
        WarehouseCorrupt: the file is no DuckDB database, or a block of it is damaged.
        WarehouseNewer: the file was migrated by a newer creditflow.
    """
    with translated_errors(path, memory_limit):
        config = {**_OFFLINE, **_STORAGE, "temp_directory": str(path.with_suffix(".tmp"))}
        limits = {"memory_limit": memory_limit, "threads": threads}
        config |= {name: str(value) for name, value in limits.items() if value is not None}
        con = duckdb.connect(str(path), read_only=read_only, config=config)  # type: ignore[arg-type]
        if not (as_it_is or read_only) and storage_version(con) != STORAGE_VERSION:
            con = _stored_anew(con, path, config)
        try:
            if as_it_is or read_only:
                _refuse_newer(path, unknown_migrations(applied_migrations(con)))
            else:
                con.execute("SET enable_progress_bar = false")
                migrate(con, path)
            yield con
        except BaseException as error:
            _end_streams(error)
            raise
        finally:
            con.close()


@contextmanager
def holding_less(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """For the block DuckDB holds no more than `LEAST_MEMORY`, where others want memory: it reads on, and
    keeps less of what it has read.

    Where it has more in use than that, it goes on with its limit.
    """
    ((limit,),) = con.execute("SELECT current_setting('memory_limit')").fetchall()
    with suppress(duckdb.OutOfMemoryException):
        con.execute(f"SET memory_limit = '{LEAST_MEMORY}'")
    try:
        yield
    finally:
        con.execute(f"SET memory_limit = {quoted(limit)}")


def storage_version(con: duckdb.DuckDBPyConnection) -> str:
    """The version of DuckDB that can read the open database's file, and all later ones, such as v1.4.0."""
    tags = con.execute(
        "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = current_database()"
    ).fetchall()
    return str(tags[0][0]).rstrip("+")


def _stored_anew(
    con: duckdb.DuckDBPyConnection, path: Path, config: Mapping[str, str]
) -> duckdb.DuckDBPyConnection:
    """The database of an earlier creditflow in the storage version of this one: once, row by row."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        copy_rows(con, fresh)
        con.close()
        with storage_errors(path):
            put_in_place(fresh, path)
    finally:
        con.close()
        fresh.unlink(missing_ok=True)
    return duckdb.connect(str(path), config=dict(config))


def copy_rows(con: duckdb.DuckDBPyConnection, fresh: Path) -> None:
    """Writes all that the open database holds into a new file, without what is free in its own."""
    own = con.execute("SELECT current_database()").fetchall()[0][0]
    con.execute(f"ATTACH {quoted(str(fresh))} AS fresh (STORAGE_VERSION '{STORAGE_VERSION}')")
    try:
        con.execute(f'COPY FROM DATABASE "{own}" TO fresh')
        con.execute("CHECKPOINT fresh")
    finally:
        con.execute("DETACH fresh")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns the operating system's errors about disks into creditflow's."""
    try:
        yield
    except OSError as error:
        raise HomeUnusable(
            str(error.filename or path),
            expected="a writable disk with space left",
            found=error.strerror or str(error),
            remedy="Free space or correct the permissions, then run again; what was published stands.",
        ) from error


def _end_streams(error: BaseException | None) -> None:
    """Lets go of what the frames of an error hold.

    A stream of rows that was cut short keeps the database open for as long as the error is kept, and DuckDB
    would wait without end for it when the same process opens the file again, to write down that it failed.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


@contextmanager
def open_published(path: Path, **config: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """The readers' database, read-only, under further settings of DuckDB where given.

    It stays the one that was opened, however often a successor is renamed into its place.

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
        settings = {**_OFFLINE, **config}
        con = duckdb.connect(str(path), read_only=True, config=settings)  # type: ignore[arg-type]
        try:
            con.execute("SET enable_progress_bar = false")
            yield con
        finally:
            con.close()


@contextmanager
def translated_errors(path: Path, memory_limit: str | None = None) -> Iterator[None]:
    """Turns DuckDB's storage errors into creditflow's, naming the file and the way to recover."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        # A full disk is told in this way too, where it is the one that rows are moved to.
        raise storage_error(path, str(error)) or _memory_limit_reached(memory_limit, error) from error
    except duckdb.Error as error:
        known = storage_error(path, str(error))
        if known is None:
            raise
        raise known from error


def _memory_limit_reached(limit: str | None, error: Exception) -> MemoryLimitReached:
    given = f"CREDITFLOW_MEMORY_LIMIT={limit}" if limit else "CREDITFLOW_MEMORY_LIMIT, which is not set"
    return MemoryLimitReached(
        given,
        expected="enough memory for what DuckDB cannot move to disk",
        found=str(error).splitlines()[0].removeprefix("Out of Memory Error: ").rstrip("!."),
        remedy="Set it higher, by doubling, and run again; what was stored before is intact.",
    )


def storage_error(path: Path, text: str) -> CreditflowError | None:
    lowered = text.lower()
    first_line = text.splitlines()[0].rstrip("!.") if text else ""
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
            remedy="Restore a backup: creditflow restore BACKUP --replace. Or move the file away "
            "and rebuild from the inbox: creditflow backfill FIRST LAST --reason recovery. "
            "A published file needs no backup: the next run writes it anew.",
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
    applied = applied_migrations(con)
    _refuse_newer(path, unknown_migrations(applied))
    pending = [script for script in scripts("migrations") if script.name not in applied]
    for script in pending:
        _apply(con, script)
    return [script.name for script in pending]


def applied_migrations(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The names on record, in order."""
    return [name for (name,) in con.execute("SELECT name FROM migrations ORDER BY name").fetchall()]


def is_current(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether every migration of this creditflow is applied."""
    return set(applied_migrations(con)) >= {script.name for script in scripts("migrations")}


def unknown_migrations(applied: Iterable[str]) -> set[str]:
    """Those that this creditflow does not have: a newer one applied them."""
    return set(applied) - {script.name for script in scripts("migrations")}


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


def quoted(text: str) -> str:
    """A text as an SQL literal, for the statements that take no bound values."""
    return "'" + text.replace("'", "''") + "'"


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


def frame(con: duckdb.DuckDBPyConnection, name: str, **values: Any) -> "pl.DataFrame":
    """The result of `queries/NAME.sql` as a polars frame."""
    return con.sql(query(name), params=values or None).pl()
