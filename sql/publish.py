"""Publishes what analysts read: a database replaced by rename, and the scores as Parquet, a file a month.

The database is a copy of the writer's bytes, made beside the one published before, in which the writer's own
tables are dropped and views and comments are made; then it is renamed into place. No row is moved: it costs
what copying a file costs, next to nothing where the file system can share blocks. A reader that has the
earlier file open keeps it until it closes, at the cost of that file's space; nobody sees half a month.

The caller holds the lock of the home: one publication at a time.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from creditflow.ahead import one_ahead
from creditflow.disk import new_name, put_in_place, sweep
from creditflow.version import code_version
from sql.glossary import comment
from sql.library import query, scripts
from sql.warehouse import (
    STORAGE_VERSION,
    copy_rows,
    quoted,
    storage_errors,
    storage_version,
    translated_errors,
)

if TYPE_CHECKING:
    import pyarrow as pa

# Every table that readers get: some ten thousand rows after ten years, but for those of clients and scores.
TABLES = (
    "clients",
    "outcomes",
    "quarantine",
    "expectation_results",
    "score_rows",
    "scorings",
    "scores_history",
    "reasons",
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
# The publication's own: what made it.
OWN = ("publication",)

# 16 MiB: so much may be free in a file of any size.
FEW_BLOCKS = 64

# Rows of Parquet that are read at a time, as many as DuckDB would write.
ROW_GROUP = 122_880
# Columns of scores with few values: looking for repeated ones in the others would cost time and find none.
CODED_SCORES = [
    "model",
    "version",
    "points",
    "grade",
    "basis",
    "run_id",
    "file_sha256",
    "code_version",
    "scored_at",
]

# Month: mark.
Marks = dict[str, str]


# ── The database ────────────────────────────────────────────────────────────────────────────────


def publish(
    con: duckdb.DuckDBPyConnection, target: Path, *, first: Callable[[], object] = lambda: None
) -> Path:
    """Replaces the database at `target` by what `con`, the writer's, holds.

    Args:
        first: called when all is ready to be put in place; where it raises, the earlier database stays.

    Raises:
        HomeUnusable: the disk is full, read-only or not permitted.
    """
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target)
        fresh = new_name(target)
        try:
            with translated_errors(target):
                _copy(con, fresh)
                _finish(fresh)
            first()
            # What somebody wrote to the earlier file and left in a log; it would be read into the new one.
            target.with_name(f"{target.name}.wal").unlink(missing_ok=True)
            put_in_place(fresh, target)
        finally:
            sweep(target)
    return target


def _copy(con: duckdb.DuckDBPyConnection, fresh: Path) -> None:
    """All that the writer holds: its bytes, or, where these are mostly air, its rows."""
    con.execute("CHECKPOINT")
    path, free, used = con.execute(
        "SELECT path, free_blocks, used_blocks FROM duckdb_databases() "
        "INNER JOIN pragma_database_size() USING (database_name) WHERE database_name = current_database()"
    ).fetchall()[0]
    if storage_version(con) == STORAGE_VERSION and free <= max(used, FEW_BLOCKS):
        copy_bytes(Path(path), fresh)
    else:
        copy_rows(con, fresh)


def _finish(fresh: Path) -> None:
    """Leaves what is for readers, and says what it means."""
    # A connection of its own, so that no view remembers the name of the file while it was new.
    with duckdb.connect(str(fresh)) as alone:
        found = alone.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal").fetchall()
        for name in sorted({name for (name,) in found} - set(TABLES)):
            alone.execute(f"DROP TABLE {name}")
        for view in scripts("views"):
            alone.execute(view.text)
        columns = ", ".join(f"{quoted(value)} AS {name}" for name, value in _maker().items())
        alone.execute(f"CREATE TABLE publication AS SELECT {columns}")
        comment(alone)
        alone.execute("CHECKPOINT")


def _maker() -> dict[str, str]:
    """What made a publication; its views and comments follow from the code."""
    return {
        "code_version": code_version(),
        "duckdb_version": duckdb.__version__,
        "storage_version": STORAGE_VERSION,
    }


# ── Parquet ─────────────────────────────────────────────────────────────────────────────────────


def publish_scores(con: duckdb.DuckDBPyConnection, folder: Path) -> list[Path]:
    """Brings `folder`/month=YYYY-MM/scores.parquet up to the writer's `scores`.

    Each file is replaced by rename, and only where its mark, which it carries in its own metadata, is not
    that of its month. The month stands in the folder's name, as DuckDB, polars, pandas and Spark read it.

    Returns:
        The files written now, in the order of their months.

    Raises:
        HomeUnusable: the disk is full, read-only or not permitted.
    """
    columns = _columns(con)
    now = {month: f"{columns}-{mark}" for month, mark in marks(con).items()}
    with storage_errors(folder), translated_errors(folder):
        for month in sorted(_parquet_months(folder) - now.keys()):
            shutil.rmtree(folder / f"month={month}")
        due = [m for m in sorted(now) if _parquet_mark(con, _parquet(folder, m)) != now[m]]
        return [_write_month(con, _parquet(folder, month), month, now[month]) for month in due]


def marks(con: duckdb.DuckDBPyConnection) -> Marks:
    """By what each scored month was scored: equal marks mean equal rows, which a scoring replaces."""
    return dict(con.execute(query("score_marks")).fetchall())


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
        _write_scores(con, month, fresh, mark)
        put_in_place(fresh, path)
    finally:
        sweep(path)
    return path


def _write_scores(con: duckdb.DuckDBPyConnection, month: str, target: Path, mark: str) -> None:
    """The month's rows as Parquet, the champion's first, in bounded memory.

    By pyarrow, which is told that a value is the same in all rows: DuckDB's COPY goes through each, in twice
    the time.
    """
    import pyarrow.parquet as pq

    empty = con.sql("SELECT * EXCLUDE (month) FROM scores LIMIT 0").to_arrow_table()
    (shared,) = con.sql(query("scores_shared"), params={"month": month}).to_arrow_table().to_pylist()
    models = con.execute(query("scored_models"), {"month": month}).fetchall()
    schema = _coded(empty.schema, [*shared, "model"])
    # Without pyarrow's own note of the types readers find plain text where it is written as codes.
    with pq.ParquetWriter(
        target, schema, compression="zstd", use_dictionary=CODED_SCORES, store_schema=False
    ) as writer:
        for model, *_, is_champion in models:
            values = shared | {"model": model, "is_champion": is_champion}
            # One of two processors reads what the other writes.
            for batch in one_ahead(_scores_of(con, month, model)):
                writer.write_batch(_completed(batch, schema, values))
        writer.add_key_value_metadata({"creditflow": mark})


def _scores_of(con: duckdb.DuckDBPyConnection, month: str, model: str) -> Iterator["pa.RecordBatch"]:
    # A cursor of its own: the stream stays open while other statements run.
    relation = con.cursor().sql(query("scores_of_model"), params={"month": month, "model": model})
    yield from relation.to_arrow_reader(ROW_GROUP)


def _coded(schema: "pa.Schema", names: Iterable[str]) -> "pa.Schema":
    """The schema with these columns as codes of the few texts that stand in them."""
    import pyarrow as pa

    for name in names:
        place, field = schema.get_field_index(name), schema.field(name)
        if pa.types.is_string(field.type):
            schema = schema.set(place, field.with_type(pa.dictionary(pa.int8(), field.type)))
    return schema


def _completed(batch: "pa.RecordBatch", schema: "pa.Schema", values: Mapping[str, Any]) -> "pa.RecordBatch":
    """The batch with each of `values` as a column of its own, in the order of the schema."""
    columns = [
        _repeated(values[field.name], field.type, batch.num_rows)
        if field.name in values
        else batch.column(field.name)
        for field in schema
    ]
    return type(batch).from_arrays(columns, schema=schema)


def _repeated(value: Any, kind: "pa.DataType", rows: int) -> "pa.Array":
    import pyarrow as pa

    if not pa.types.is_dictionary(kind):
        return pa.repeat(pa.scalar(value, kind), rows)
    codes = pa.repeat(pa.scalar(0, kind.index_type), rows)
    return pa.DictionaryArray.from_arrays(codes, pa.array([value], kind.value_type))


# ── Files ───────────────────────────────────────────────────────────────────────────────────────


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
