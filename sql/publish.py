"""Publishes what analysts read: a database replaced by rename, and the scores as Parquet, a file a month.

The database is made from the one published before: its bytes are copied beside it, the months that changed
are replaced in the copy, and the copy is renamed into place. What changed follows from what is stored: each
month of a large table carries a mark (`queries/partition_marks.sql`), and the published file keeps the marks
it was made by in its table `partitions`. A reader that has the earlier file open keeps it until it closes, at
the cost of that file's space on disk; nobody sees half a month.

The caller holds the lock of the home: one publication at a time.
"""

import errno
import glob
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl

from creditflow.errors import HomeUnusable, WarehouseCorrupt
from creditflow.version import code_version
from sql.glossary import comment
from sql.library import query, scripts
from sql.warehouse import quoted, storage_error, transaction, translated_errors

# Replaced month by month. Whoever writes to one of these must see to its mark in partition_marks.sql.
LARGE = ("clients", "outcomes", "quarantine", "expectation_results", "scores", "scores_history", "reasons")
# Replaced whole: some ten thousand rows after ten years.
SMALL = (
    "files",
    "models",
    "decisions",
    "retrain_rules",
    "gate_checks",
    "promotions",
    "reason_texts",
    "drift",
    "drift_bins",
    "performance",
    "validation",
    "calibration",
    "comparisons",
    "segments",
    "fairness",
    "alerts",
    "alert_messages",
    "runs",
    "backfills",
    "backfill_months",
    "stage_timings",
)
TABLES = (*LARGE, *SMALL)
# The publication's own: what made it, and the marks.
OWN = ("publication", "partitions")
# Readable by clients from DuckDB 1.4 on; the default storage of 2.0 is not.
STORAGE_VERSION = "v1.4.0"

# 16 MiB: so much may be free in a file of any size.
FEW_BLOCKS = 64

# Month: mark.
Marks = dict[str, str]


# ── The database ────────────────────────────────────────────────────────────────────────────────


def publish(con: duckdb.DuckDBPyConnection, target: Path, *, afresh: bool = False) -> Path:
    """Brings the database at `target` up to what `con`, the writer's, holds, and replaces it by rename.

    Args:
        afresh: copy every table whole, whatever is published; the result is the same, table by table.

    Raises:
        HomeUnusable: the disk is full, read-only or not permitted.
    """
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target)
        fresh = new_name(target)
        try:
            with translated_errors(target):
                if afresh or not _updated_copy(con, target, fresh):
                    fresh.unlink(missing_ok=True)
                    _full_copy(con, fresh)
            checksum = _checksum(fresh)
            # What somebody wrote to the earlier file and left in a log; it would be read into the new one.
            target.with_name(f"{target.name}.wal").unlink(missing_ok=True)
            put_in_place(fresh, target)
            _sum_file(target).write_text(checksum)
        finally:
            sweep(target)
    return target


def _full_copy(con: duckdb.DuckDBPyConnection, fresh: Path) -> None:
    own_views = con.execute("SELECT sql FROM duckdb_views() WHERE NOT internal").fetchall()
    with _attached(con, fresh):
        with transaction(con):
            for table in TABLES:
                con.execute(f"CREATE TABLE published.{table} AS FROM {table}")
            con.execute(f"CREATE TABLE published.partitions AS {query('partition_marks')}")
            columns = ", ".join(f"{quoted(value)} AS {name}" for name, value in _maker().items())
            con.execute(f"CREATE TABLE published.publication AS SELECT {columns}")
        con.execute("CHECKPOINT published")
    # A connection of its own, so that no view remembers the name of the file while it was new.
    with duckdb.connect(str(fresh)) as alone:
        for statement in [*(sql for (sql,) in own_views), *(view.text for view in scripts("views"))]:
            alone.execute(statement)
        comment(alone)
        alone.execute("CHECKPOINT")


def _updated_copy(con: duckdb.DuckDBPyConnection, target: Path, fresh: Path) -> bool:
    """Whether `fresh` now is the published file brought up to date; False where that file cannot serve."""
    if not _is_as_left(target):
        return False
    copy_bytes(target, fresh)
    try:
        with _attached(con, fresh):
            if not _can_serve(con):
                return False
            with transaction(con):
                _replace_months(con)
                _replace_small(con)
                complete = _adds_up(con)
            con.execute("CHECKPOINT published")
    except duckdb.Error as error:
        # A damaged block comes to light only when it is touched; what the writer holds is not in doubt.
        if isinstance(storage_error(target, str(error)), WarehouseCorrupt):
            return False
        raise
    return complete


def _replace_months(con: duckdb.DuckDBPyConnection) -> None:
    marks = con.sql(query("partition_marks")).pl()
    before = con.sql("SELECT table_name, month, mark FROM published.partitions").pl()
    for table in LARGE:
        gone, new = changed_months(marks_of(before, table), marks_of(marks, table))
        if gone:
            con.execute(f"DELETE FROM published.{table} WHERE month IN (SELECT unnest($m))", {"m": gone})
        if new:
            con.execute(
                f"INSERT INTO published.{table} FROM {table} WHERE month IN (SELECT unnest($m))", {"m": new}
            )
    con.execute("DELETE FROM published.partitions")
    con.register("marks", marks)
    con.execute("INSERT INTO published.partitions FROM marks")
    con.unregister("marks")


def _replace_small(con: duckdb.DuckDBPyConnection) -> None:
    for table in SMALL:
        con.execute(f"DELETE FROM published.{table}")
        con.execute(f"INSERT INTO published.{table} FROM {table}")


def changed_months(before: Marks, now: Marks) -> tuple[list[str], list[str]]:
    """Months to delete and months to insert; one whose mark changed is in both."""
    differing = [month for month in sorted(before.keys() | now.keys()) if before.get(month) != now.get(month)]
    return [m for m in differing if m in before], [m for m in differing if m in now]


def marks_of(marks: pl.DataFrame, table: str) -> Marks:
    """The mark of every month that a large table holds, from the columns table_name, month and mark."""
    return dict(marks.filter(pl.col("table_name") == table).select("month", "mark").iter_rows())


# ── Whether the earlier file can serve ──────────────────────────────────────────────────────────


def _is_as_left(target: Path) -> bool:
    """Whether the published file holds the bytes that the last publication wrote.

    A damaged block of a month that is not replaced would otherwise live on from copy to copy, and so would
    what somebody wrote into the file.
    """
    try:
        return _sum_file(target).read_text() == _checksum(target)
    except FileNotFoundError:
        return False


def _sum_file(target: Path) -> Path:
    return target.with_name(f".{target.name}.crc32")


def _checksum(path: Path) -> str:
    """CRC-32 of a file: against accidents, at several GB/s."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            value = zlib.crc32(block, value)
    return f"{value:08x}"


def _can_serve(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether the attached file was made by this very code, holds the same tables, and is not mostly air."""
    names = con.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'published'").fetchall()
    if {name for (name,) in names} != {*TABLES, *OWN}:
        return False
    maker = con.execute("FROM published.publication").fetchall()
    free, used = con.execute(
        "SELECT free_blocks, used_blocks FROM pragma_database_size() WHERE database_name = 'published'"
    ).fetchall()[0]
    return maker == [tuple(_maker().values())] and free <= max(used, FEW_BLOCKS)


def _maker() -> dict[str, str]:
    """What decides the shape of a publication; its columns, views and comments follow from the code."""
    return {
        "code_version": code_version(),
        "duckdb_version": duckdb.__version__,
        "storage_version": STORAGE_VERSION,
    }


def _adds_up(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether every large table has as many rows as the writer's: a file that somebody changed has not."""
    counts = ", ".join(
        f"(SELECT count(*) FROM {table}) = (SELECT count(*) FROM published.{table})" for table in LARGE
    )
    return all(con.execute(f"SELECT {counts}").fetchall()[0])


# ── Parquet ─────────────────────────────────────────────────────────────────────────────────────


def publish_scores(con: duckdb.DuckDBPyConnection, folder: Path) -> list[Path]:
    """Brings `folder`/month=YYYY-MM/scores.parquet up to the writer's table `scores`.

    Each file is replaced by rename, and only where its mark, which it carries in its own metadata, is not
    that of its month. The month stands in the folder's name, as DuckDB, polars, pandas and Spark read it.

    Returns:
        The files written now, in the order of their months.

    Raises:
        HomeUnusable: the disk is full, read-only or not permitted.
    """
    marks, columns = marks_of(con.sql(query("partition_marks")).pl(), "scores"), _columns(con)
    now = {month: f"{columns}-{mark}" for month, mark in marks.items()}
    with storage_errors(folder), translated_errors(folder):
        for month in sorted(_parquet_months(folder) - now.keys()):
            shutil.rmtree(folder / f"month={month}")
        due = [m for m in sorted(now) if _parquet_mark(con, _parquet(folder, m)) != now[m]]
        return [_write_month(con, _parquet(folder, month), month, now[month]) for month in due]


def _parquet(folder: Path, month: str) -> Path:
    return folder / f"month={month}" / "scores.parquet"


def _parquet_months(folder: Path) -> set[str]:
    return {path.name.removeprefix("month=") for path in folder.glob("month=*")}


def _columns(con: duckdb.DuckDBPyConnection) -> str:
    return con.execute(
        "SELECT md5(string_agg(column_name || data_type, ',' ORDER BY column_index)) FROM duckdb_columns() "
        "WHERE table_name = 'scores' AND NOT internal"
    ).fetchall()[0][0]


def _parquet_mark(con: duckdb.DuckDBPyConnection, path: Path) -> str | None:
    """None where there is no file, or one that cannot be read: it is written anew then."""
    if not path.is_file():
        return None
    try:
        rows = con.execute(
            "SELECT decode(value) FROM parquet_kv_metadata($path) WHERE decode(key) = 'creditflow'",
            {"path": str(path)},
        ).fetchall()
    except duckdb.Error:
        return None
    return rows[0][0] if rows else None


def _write_month(con: duckdb.DuckDBPyConnection, path: Path, month: str, mark: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path)
    fresh = new_name(path)
    try:
        # COPY takes no bound values.
        con.execute(
            f"COPY (SELECT * EXCLUDE (month) FROM scores WHERE month = {quoted(month)}) "
            f"TO {quoted(str(fresh))} "
            f"(FORMAT parquet, COMPRESSION zstd, KV_METADATA {{creditflow: {quoted(mark)}}})"
        )
        put_in_place(fresh, path)
    finally:
        sweep(path)
    return path


# ── Files ───────────────────────────────────────────────────────────────────────────────────────


def new_name(target: Path) -> Path:
    """Where the successor of `target` is written: hidden, beside it, on the same disk."""
    return target.with_name(f".{target.name}.{os.getpid()}.new")


def sweep(target: Path) -> None:
    """Removes what publications left beside `target` that a kill or a fault ended."""
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.*.new*"):
        leftover.unlink(missing_ok=True)


def put_in_place(fresh: Path, target: Path) -> None:
    """Renames, once the bytes are on the disk: a power cut leaves the one file or the other."""
    _to_disk(fresh)
    fresh.replace(target)
    _to_disk(target.parent)


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def copy_bytes(source: Path, target: Path) -> None:
    """Copies a file inside the kernel, which shares the blocks where the file system can."""
    copy_range = getattr(os, "copy_file_range", None)
    if copy_range is None:
        shutil.copyfile(source, target)
        return
    with source.open("rb") as read, target.open("wb") as write:
        try:
            while copy_range(read.fileno(), write.fileno(), 1 << 30):
                pass
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}:
                raise
            # A file system or kernel without it; nothing of the two files is open half-way.
            shutil.copyfile(source, target)


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


@contextmanager
def _attached(con: duckdb.DuckDBPyConnection, path: Path) -> Iterator[None]:
    con.execute(f"ATTACH {quoted(str(path))} AS published (STORAGE_VERSION '{STORAGE_VERSION}')")
    try:
        yield
    finally:
        con.execute("DETACH published")
