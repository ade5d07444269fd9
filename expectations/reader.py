"""From a file in any accepted format to one lazy table of text cells.

CSV, gzipped CSV, Parquet, XLS and XLSX all end up as the same `RawTable`; everything after it (typing,
rules, quarantine) knows nothing of formats. Cells stay text until `cells.py` casts them, so that a
cell which is no number is still there to be shown.
"""

import csv
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from creditflow.columns import CLIENT_ID, CLIENT_SCHEMA, OUTCOME, ROW_NUMBER
from creditflow.errors import ContentRefused, FileUnreadable, HeaderRefused
from expectations.digests import read_fingerprint
from expectations.headers import STATEMENT_MONTH, Header, Kind, known_names, read_header
from expectations.plain import look_at
from expectations.textfile import (
    Fingerprint,
    empty_file,
    gunzip,
    probe,
    raw_chunks,
    stage_text,
    unreadable,
    writing,
)
from expectations.workbook import EXACT_FLOAT, WorkbookError, convert

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".xls", ".xlsx")
SEPARATORS = (",", ";", "\t")
EXTRA = "extra_"
MAX_EXTRA_CELLS = 200

_NAMES = {
    "text": "CSV text",
    "gzip": "gzipped CSV",
    "parquet": "a Parquet file",
    "xls": "an XLS workbook",
    "xlsx": "an XLSX workbook",
}
_MAGIC = {b"PAR1": "parquet", b"PK\x03\x04": "xlsx", b"\xd0\xcf\x11\xe0": "xls", b"\x1f\x8b": "gzip"}
_CONTENT = {".csv": "text", ".csv.gz": "gzip", ".parquet": "parquet", ".xls": "xls", ".xlsx": "xlsx"}


@dataclass(frozen=True)
class RawTable:
    """A file's cells as text.

    Attributes:
        frame: `row_number` (Int64, 1 = first row of data), one String column per regular name, and
            `extra_1`… for cells beyond the header.
        rows: rows of data that the file holds, blank ones included, counted apart from the parser.
        other_sheets: further sheets of a workbook that hold something and were not read.
        line_ends: of a text file, such as 'CRLF'; empty for the other formats.
        numbers: the same rows without text in between: `client_id` and the month as text, every other
            column as number, null where a cell is none; None where the file does not lend itself to it.
    """

    frame: pl.LazyFrame
    header: Header
    rows: int
    fingerprint: Fingerprint
    extras: tuple[str, ...] = ()
    other_sheets: int = 0
    line_ends: str = ""
    numbers: pl.LazyFrame | None = None


def open_raw(path: Path, kind: Kind, stage: Path) -> RawTable:
    """Read a file's structure; cells are read when the frame is collected.

    Args:
        stage: an existing folder for the regular copy of a text file.

    Raises:
        FileUnreadable: empty, truncated, wrong encoding, content of another format, no permission.
        HeaderRefused: a missing, duplicate or unknown column.
        ContentRefused: client IDs that were stored as numbers too large to be exact.
        HomeUnusable: `stage` cannot be written to.
    """
    content = _CONTENT[suffix_of(path)]
    _check_content(path, _head(path), content)
    return _READERS[content](path, kind, stage)


def suffix_of(path: Path) -> str:
    """The ending that names the format, in lower case.

    Raises:
        FileUnreadable: an ending that is no accepted format.
    """
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if path.name.lower().endswith(suffix):
            return suffix
    raise FileUnreadable(
        path.name,
        expected=f"a file that ends in {', '.join(SUFFIXES)}",
        found=f"the ending {path.suffix!r}",
        remedy="Write it in one of these formats.",
    )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(8)
    except OSError as error:
        raise unreadable(path, error) from error


def _check_content(path: Path, head: bytes, expected: str) -> None:
    if not head:
        raise empty_file(path)
    found = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "text")
    if found == expected or (found == "text" and expected != "text" and not head.isascii()):
        return
    raise FileUnreadable(
        path.name,
        expected=f"{_NAMES[expected]}, as its name says",
        found=_NAMES[found] if found != "text" or head.isascii() else "something else",
        remedy="Give the file the ending of its format, or write it again in the format of its name.",
    )


@contextmanager
def parsing(path: Path, what: str, into: Path | None = None) -> Iterator[None]:
    """Turns whatever a file-format library raises on a damaged file into FileUnreadable.

    Args:
        into: the folder that is written to meanwhile; if it takes no more data, that was the reason.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        if into is not None:
            probe(into)
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise FileUnreadable(
            path.name,
            expected=f"{what} that can be read to its end",
            found=f"damaged or truncated content ({lines[0][:160].rstrip('.')})",
            remedy="Copy the file again, or write it again.",
        ) from error


# --- text --------------------------------------------------------------------------------------------


def _read_text(path: Path, kind: Kind, stage: Path) -> RawTable:
    return _read_plain_text(path, kind, stage) or _read_any_text(path, kind, stage)


def _read_plain_text(path: Path, kind: Kind, stage: Path) -> RawTable | None:
    """The file as it lies, or None where it is not plain (see `plain`); an archive is unpacked first."""
    digest, size = hashlib.sha256(), path.stat().st_size
    chunks, source = raw_chunks(path, digest), path
    packed = suffix_of(path) == ".csv.gz"
    if packed:
        chunks, source = _checked_first(gunzip(chunks, path), path), stage / "unpacked.csv"
    with writing(source) if packed else nullcontext(), source.open("wb") if packed else nullcontext() as out:
        look = look_at(chunks, lambda block: _text_header(block, kind, path), out)
    if look is None:
        (stage / "unpacked.csv").unlink(missing_ok=True)
        return None
    header = look.header
    frame = _scan(source, look.separator, header, dict.fromkeys(header.names, pl.String))
    numbers = _scan(source, look.separator, header, {n: _number_type(n) for n in header.names}, lenient=True)
    print_of = Fingerprint(digest.hexdigest(), size)
    rows = look.lines - header.skip
    return RawTable(frame, header, rows, print_of, line_ends=look.line_ends, numbers=numbers.drop(ROW_NUMBER))


def _number_type(name: str) -> type[pl.DataType]:
    """What a cell is read as; amounts may have fractions, the outcome is read as codes are."""
    return {CLIENT_ID: pl.String, STATEMENT_MONTH: pl.String, OUTCOME: pl.Int16}.get(name) or CLIENT_SCHEMA[
        name
    ]


def _scan(
    path: Path, separator: str, header: Header, schema: dict[str, type[pl.DataType]], *, lenient: bool = False
) -> pl.LazyFrame:
    return pl.scan_csv(
        path,
        has_header=False,
        skip_lines=header.skip,
        separator=separator,
        schema=schema,
        row_index_name=ROW_NUMBER,
        row_index_offset=1,
        missing_columns="insert",
        infer_schema=False,
        ignore_errors=lenient,
        glob=False,
    ).with_columns(pl.col(ROW_NUMBER).cast(pl.Int64))


def _read_any_text(path: Path, kind: Kind, stage: Path) -> RawTable:
    digest = hashlib.sha256()
    size = path.stat().st_size
    chunks = raw_chunks(path, digest)
    if suffix_of(path) == ".csv.gz":
        chunks = _checked_first(gunzip(chunks, path), path)
    found: list[Header] = []

    def choose(block: str) -> str:
        separator, header = _text_header(block, kind, path)
        found.append(header)
        return separator

    copy = stage_text(chunks, path, stage / "regular.csv", choose)
    header = found[0]
    extras = _extra_names(copy.width, header, path)
    frame = _scan(copy.path, copy.separator, header, dict.fromkeys((*header.names, *extras), pl.String))
    print_of = Fingerprint(digest.hexdigest(), size)
    return RawTable(
        frame, header, copy.lines - header.skip, print_of, extras=extras, line_ends=copy.line_ends
    )


def _checked_first(chunks: Iterator[bytes], path: Path) -> Iterator[bytes]:
    first = next(chunks, b"")
    if not first:
        raise empty_file(path)
    if any(first.startswith(magic) for magic in _MAGIC):
        _check_content(path, first[:8], "text")
    yield first
    yield from chunks


def _text_header(block: str, kind: Kind, path: Path) -> tuple[str, Header]:
    """The separator under which the first lines name the most columns, and the header by it."""
    lines = [(i, line) for i, line in enumerate(block.split("\n")) if line.strip()][:2]
    if not lines:
        raise empty_file(path)
    readings = [
        (separator, [(i, next(csv.reader([line], delimiter=separator))) for i, line in lines])
        for separator in SEPARATORS
    ]
    separator, rows = max(readings, key=lambda r: max(known_names(cells) for _, cells in r[1]))
    return separator, read_header(rows, kind, path.name)


def _extra_names(width: int, header: Header, path: Path) -> tuple[str, ...]:
    count = max(0, width - len(header.columns))
    if count > MAX_EXTRA_CELLS:
        raise FileUnreadable(
            path.name,
            expected=f"rows of {len(header.columns)} fields, as in the header",
            found=f"a row of {width} fields",
            remedy="Check the line ends and the separator, and send the file again.",
        )
    return tuple(f"{EXTRA}{n}" for n in range(1, count + 1))


# --- Parquet -----------------------------------------------------------------------------------------


def _read_parquet(path: Path, kind: Kind, stage: Path) -> RawTable:
    _ = stage  # Parquet is read where it lies; its digest is checked again at the end of the intake.
    printed = read_fingerprint(path)
    with parsing(path, "a Parquet file"):
        source = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        schema = source.collect_schema()
        rows = source.select(pl.len()).collect().item()
    header = read_header([(0, list(schema))], kind, path.name)
    _check_types(path, header, schema)
    if schema[header.spelling(CLIENT_ID)].is_float():
        _check_exact_ids(path, header, source)
    casts = [_as_text(spelt, schema[spelt], name == CLIENT_ID).alias(name) for spelt, name in header.columns]
    frame = source.select(casts).with_row_index(ROW_NUMBER, offset=1)
    return RawTable(
        frame.with_columns(pl.col(ROW_NUMBER).cast(pl.Int64)),
        Header(0, header.columns),
        rows,
        printed,
        numbers=_parquet_numbers(source, header, schema),
    )


def _parquet_numbers(source: pl.LazyFrame, header: Header, schema: pl.Schema) -> pl.LazyFrame | None:
    """The columns as stored, where text in between would change nothing: it does for 32-bit floats."""
    texts = (CLIENT_ID, STATEMENT_MONTH)
    direct = all(
        schema[spelt] == pl.String
        if name in texts
        else schema[spelt].is_integer() or schema[spelt] == pl.Float64
        for spelt, name in header.columns
    )
    casts = (
        pl.col(spelt).cast(pl.String if name in texts else pl.Float64).alias(name)
        for spelt, name in header.columns
    )
    return source.select(casts) if direct else None


def _check_types(path: Path, header: Header, schema: pl.Schema) -> None:
    nested = [spelt for spelt, _ in header.columns if schema[spelt].is_nested() or schema[spelt] == pl.Object]
    if nested:
        raise HeaderRefused(
            f"{path.name}, column {nested[0]}",
            expected="one value a cell: number or text",
            found=f"the nested type {schema[nested[0]]}",
            remedy="Write the column as number or text.",
        )


def _check_exact_ids(path: Path, header: Header, source: pl.LazyFrame) -> None:
    ids = pl.col(header.spelling(CLIENT_ID)).cast(pl.Float64)
    with parsing(path, "a Parquet file"):
        found = (
            source.select(ids.filter(ids.is_finite() & (ids.abs() >= EXACT_FLOAT)).first()).collect().item()
        )
    if found is not None:
        raise inexact_ids(path, header, repr(found))


def inexact_ids(path: Path, header: Header, example: str) -> ContentRefused:
    """The refusal for client IDs that went through a floating-point number and lost digits."""
    return ContentRefused(
        f"{path.name}, column {header.spelling(CLIENT_ID) or 'ID'}",
        expected="client IDs as text, or as whole numbers of at most 64 bits",
        found=f"IDs stored as floating-point numbers beyond 2^53, whose last digits are lost, like {example}",
        remedy="Export the ID column as text or as a 64-bit integer.",
    )


def _as_text(spelt: str, dtype: pl.DataType, is_id: bool) -> pl.Expr:
    column = pl.col(spelt)
    if dtype.is_float() and is_id:
        whole = column.cast(pl.Float64)
        exact = whole.is_finite() & (whole == whole.round())
        integer = whole.cast(pl.Int64, strict=False).cast(pl.String)
        return pl.when(column.is_nan()).then(None).when(exact).then(integer).otherwise(column.cast(pl.String))
    return column.cast(pl.String, strict=False)


# --- workbooks ---------------------------------------------------------------------------------------


def _read_workbook(path: Path, kind: Kind, stage: Path) -> RawTable:
    printed = read_fingerprint(path)
    with writing(stage / "cells.parquet"):
        try:
            others = convert(path, stage)
        except WorkbookError as error:
            raise _bad_workbook(path, error) from error
    cells = pl.read_parquet(stage / "cells.parquet", glob=False, hive_partitioning=False)
    blank = cells.select(pl.all_horizontal(pl.all().is_null() | (pl.all().str.strip_chars() == "")))
    filled = (~blank.to_series()).arg_true().head(2).to_list() if cells.width else []
    if not filled:
        raise empty_file(path)
    header = read_header([(i, [c or "" for c in cells.row(i)]) for i in filled], kind, path.name)
    frame, extras = _named(cells.slice(header.skip), header)
    _check_workbook_ids(path, header, stage, frame)
    return RawTable(frame.lazy(), header, frame.height, printed, extras=extras, other_sheets=others)


def _named(cells: pl.DataFrame, header: Header) -> tuple[pl.DataFrame, tuple[str, ...]]:
    regular = header.names
    extras = tuple(f"{EXTRA}{n + 1}" for n in range(max(0, cells.width - len(regular))))
    frame = cells.rename(dict(zip(cells.columns, (*regular, *extras), strict=False)))
    frame = frame.with_columns(pl.lit(None, pl.String).alias(n) for n in regular if n not in frame.columns)
    frame = frame.with_row_index(ROW_NUMBER, offset=1).with_columns(pl.col(ROW_NUMBER).cast(pl.Int64))
    return frame, extras


def _check_workbook_ids(path: Path, header: Header, stage: Path, frame: pl.DataFrame) -> None:
    inexact = pl.read_parquet(stage / "inexact.parquet", glob=False, hive_partitioning=False)
    place = str(header.names.index(CLIENT_ID))
    if place not in inexact.columns:
        return
    lost = frame[CLIENT_ID].filter(inexact[place].slice(header.skip))
    if lost.len():
        raise inexact_ids(path, header, str(lost[0]))


def _bad_workbook(path: Path, error: WorkbookError) -> FileUnreadable:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return FileUnreadable(
        path.name,
        expected="a complete workbook without a password",
        found=f"one that cannot be opened ({lines[0][:160]})",
        remedy="Save it again, or send the data as CSV.",
    )


_READERS: dict[str, Callable[[Path, Kind, Path], RawTable]] = {
    "text": _read_text,
    "gzip": _read_text,
    "parquet": _read_parquet,
    "xls": _read_workbook,
    "xlsx": _read_workbook,
}
