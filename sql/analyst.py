"""Answers analysts' queries on the published database: one SELECT, read-only, in bounded memory.

The connection is shut off before a query reaches it: no file but the database can be read or written, no
extension installed, no setting changed. Its first rows come as Python's own values: what takes whole answers
takes longer to import than most queries to run.
"""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import duckdb

from creditflow.disk import new_name, put_in_place
from creditflow.errors import QueryFailed, UsageError
from sql.warehouse import open_published, storage_errors

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

Form = Literal["table", "csv", "json", "parquet"]
BATCH_ROWS = 50_000
_READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
# What a form has no word for is given as DuckDB writes it; JSON's numbers are doubles.
_NESTED = dict.fromkeys(("INTERVAL", "LIST", "ARRAY", "STRUCT", "MAP", "UNION", "BLOB"), "VARCHAR")
# Python's moments know no infinity, no nanoseconds, and no zone without a further package.
_MOMENTS = ("DATE", "TIME", "TIME_NS", *(f"TIMESTAMP{unit}" for unit in ("", "_S", "_MS", "_NS")))
_ZONED = ("TIMESTAMP WITH TIME ZONE", "TIME WITH TIME ZONE")
_SAID = dict.fromkeys((*_MOMENTS, *_ZONED, "BIT", "BIGNUM"), "VARCHAR")
_NUMBERS = dict.fromkeys(("HUGEINT", "UHUGEINT", "DECIMAL"), "DOUBLE")
_CASTS: dict[Form, dict[str, str]] = {
    "table": _NESTED | _SAID,
    "csv": _NESTED,
    "json": _NUMBERS | dict.fromkeys(("INTERVAL", "MAP", "UNION", "BLOB"), "VARCHAR"),
    "parquet": {"INTERVAL": "VARCHAR"},
}
_NUMERIC = {
    *(f"{sign}{size}int" for sign in ("", "u") for size in ("tiny", "small", "big", "huge")),
    *("integer", "uinteger", "float", "double", "decimal"),
}


@contextmanager
def open_for_analysts(path: Path, memory_limit: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published database, shut off from all else.

    Raises:
        HomeUnusable: nothing has been published yet.
        WarehouseCorrupt: the file is damaged.
    """
    # Without the first, a table that is not found is looked for among Python's variables.
    settings = {"python_enable_replacements": "false", "errors_as_json": "true"}
    if memory_limit is not None:
        settings["memory_limit"] = memory_limit
    with open_published(path, **settings) as con:
        con.execute("SET enable_external_access = false")
        con.execute("SET lock_configuration = true")
        yield con


# ── Answers ─────────────────────────────────────────────────────────────────────────────────────


def answer(con: duckdb.DuckDBPyConnection, text: str, form: Form = "table") -> duckdb.DuckDBPyRelation:
    """The result of a query, not yet computed, in types that `form` can express.

    Raises:
        QueryFailed: the text is not one SELECT, or DuckDB refuses it.
    """
    with _explained(text):
        statements = con.extract_statements(text)
    if len(statements) != 1 or statements[0].type not in _READING:
        _refuse(" and ".join(s.type.name for s in statements) or "no statement")
    try:
        relation = con.sql(text)
    except duckdb.Error:
        # Only the plain call says where in the text it went wrong.
        with _explained(text):
            con.execute(text)
        raise
    return _expressible(relation, form)


@dataclass(frozen=True)
class FirstRows:
    """The beginning of an answer.

    Attributes:
        names: of its columns. numeric: which of them hold numbers.
        rows: their values. more: whether the answer goes on after them.
    """

    names: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: list[tuple[Any, ...]]
    more: bool


def first_rows(relation: duckdb.DuckDBPyRelation, text: str, most: int) -> FirstRows:
    """At most `most` rows of an answer in the form of a table.

    Raises:
        QueryFailed: the query fails on its way, on a value or for want of memory.
    """
    try:
        rows = relation.limit(most + 1).fetchall()
    except duckdb.Error as error:
        # It names a place in the text that DuckDB made for the limit: the query as it stands says where.
        next(batches(relation, text))
        _refuse(in_one_line(str(error), None), error)
    numeric = tuple(dtype.id in _NUMERIC for dtype in relation.types)
    return FirstRows(tuple(relation.columns), numeric, rows[:most], len(rows) > most)


def batches(relation: duckdb.DuckDBPyRelation, text: str) -> "Iterator[pl.DataFrame]":
    """The rows of an answer, `BATCH_ROWS` at a time; one empty frame where there are none.

    Raises:
        QueryFailed: the query fails on its way, on a value or for want of memory.
    """
    import polars as pl

    reader = _reader(relation, text)
    is_empty = True
    for batch in _arrow_batches(reader, text):
        is_empty = False
        yield pl.DataFrame(pl.from_arrow(batch))
    if is_empty:
        # Not made beforehand: pyarrow imports pandas for it.
        yield pl.DataFrame(pl.from_arrow(reader.schema.empty_table()))


def write_parquet(relation: duckdb.DuckDBPyRelation, text: str, target: Path, *, overwrite: bool) -> int:
    """Writes an answer as one Parquet file, which appears whole or not at all; returns its rows.

    Raises:
        HomeUnusable: the disk is full, read-only or not permitted.
        QueryFailed: the query fails on its way.
        UsageError: the file exists and is not to be overwritten, or its folder does not exist.
    """
    import pyarrow.parquet as pq

    _check_target(target, overwrite)
    fresh, rows = new_name(target), 0
    try:
        with storage_errors(target):
            reader = _reader(relation, text)
            with pq.ParquetWriter(fresh, reader.schema, compression="zstd") as writer:
                for batch in _arrow_batches(reader, text):
                    writer.write_batch(batch)
                    rows += batch.num_rows
            put_in_place(fresh, target)
    finally:
        # Its own alone: another process may be writing the same answer.
        fresh.unlink(missing_ok=True)
    return rows


def _check_target(target: Path, overwrite: bool) -> None:
    if target.exists() and not (overwrite and target.is_file()):
        raise UsageError(
            str(target),
            expected="a new file",
            found="one that exists" if target.is_file() else "a folder",
            remedy="Choose another name, or replace a file with --overwrite.",
        )
    if not target.parent.is_dir():
        raise UsageError(
            str(target), expected="a folder that exists", found="none", remedy="Create the folder first."
        )


def _expressible(relation: duckdb.DuckDBPyRelation, form: Form) -> duckdb.DuckDBPyRelation:
    casts = [_CASTS[form].get(dtype.id.upper()) for dtype in relation.types]
    names = _told_apart(relation.columns)
    if names == relation.columns and not any(casts):
        return relation
    columns = (
        f"CAST(#{place} AS {cast}) AS {_name(name)}" if cast else f"#{place} AS {_name(name)}"
        for place, (name, cast) in enumerate(zip(names, casts, strict=True), start=1)
    )
    return relation.project(", ".join(columns))


def _told_apart(names: list[str]) -> list[str]:
    """The names, numbered where a query gives one twice: n, n_2, n_3."""
    taken: list[str] = []
    for name in names:
        candidates = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
        others = {*names} - {name} | {*taken}
        taken.append(next(candidate for candidate in candidates if candidate not in others))
    return taken


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _reader(relation: duckdb.DuckDBPyRelation, text: str) -> "pa.RecordBatchReader":
    with _explained(text):
        return relation.to_arrow_reader(BATCH_ROWS)


def _arrow_batches(reader: "pa.RecordBatchReader", text: str) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa

    try:
        yield from reader
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        # An error on the way comes through Arrow's stream, as an OSError with DuckDB's words.
        _refuse(in_one_line(str(error), text), error)


# ── Refusals ────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _explained(text: str) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        _refuse(in_one_line(str(error), text), error)


def in_one_line(error: str, text: str | None) -> str:
    """DuckDB's words about a query, with line and position where it gives a place and the text is known.

    >>> in_one_line('Parser Error: {"exception_message": "no", "position": "9"}', "SELECT\\nx y z")
    'Parser Error: no (line 2, position 3)'
    """
    start = error.find("{")
    try:
        facts = json.loads(error[start : error.rindex("}") + 1])
        words = f"{error[:start]}{facts['exception_message']}"
    except (ValueError, KeyError, TypeError):
        return " ".join(error.split())
    return " ".join(words.split()) + _place(facts.get("position"), text)


def _place(position: str | None, text: str | None) -> str:
    if position is None or text is None:
        return ""
    # DuckDB counts bytes.
    before = text.encode()[: int(position)].decode(errors="ignore")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return f" (line {line}, position {column})"


def _refuse(found: str, error: Exception | None = None) -> NoReturn:
    raise QueryFailed(
        "query",
        expected="one SELECT that DuckDB accepts on the published database",
        found=found,
        remedy="creditflow sql lists the tables, creditflow sql --examples worked queries.",
    ) from error
