"""Delivers files to the inbox: all of a delivery or nothing, and never half a file.

Files are written into a hidden folder inside the inbox, which no reader looks into, and are renamed into
place at the end.
"""

import filecmp
import gzip
import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Literal, cast

import polars as pl

from creditflow.columns import CLIENT_ID, CLIENT_SCHEMA, OUTCOME
from creditflow.errors import FileAmbiguous, UsageError
from creditflow.month import Month
from expectations.intake import list_files
from tasks.home import unusable

Kind = Literal["clients", "outcomes"]
Format = Literal["csv", "csv.gz", "parquet", "xlsx"]
State = Literal["new", "unchanged", "replaced"]
Progress = Callable[[str, int, int], None]

_FOLDER = ".delivery-"
_XLSX_ROWS = 1_048_575
# A fixed time, so that the same content gives the same bytes.
_XLSX_CREATED = datetime(1980, 1, 1)


def _study_spelling(name: str) -> str:
    return {CLIENT_ID: "ID", OUTCOME: "default payment next month", "pay_1": "PAY_0"}.get(name, name.upper())


STUDY_HEADER: dict[str, str] = {name: _study_spelling(name) for name in (*CLIENT_SCHEMA, OUTCOME)}


# ── Delivery ────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Delivery:
    """Files on their way into an inbox; `states` says what became of each, by its final path."""

    inbox: Path
    folder: Path
    overwrite: bool
    states: dict[Path, State] = field(default_factory=dict)

    def add(self, kind: Kind, month: Month, suffix: str, write: Callable[[Path], None]) -> Path:
        """Has `write` make the file; returns the path that it will have.

        Raises:
            UsageError: a file of that name with other content is there, and `overwrite` was not asked for.
            FileAmbiguous: the month has a file of another format already.
            HomeUnusable: the disk is full or read-only.
        """
        target = self.inbox / f"{kind}_{month}.{suffix}"
        refuse_other_formats(self.inbox, kind, month, target)
        staged = self.folder / target.name
        with writing(target):
            write(staged)
            self.states[target] = self._compare(staged, target)
        return target

    def _compare(self, staged: Path, target: Path) -> State:
        if not target.exists():
            return "new"
        if filecmp.cmp(staged, target, shallow=False):
            staged.unlink()
            return "unchanged"
        if not self.overwrite:
            raise UsageError(
                str(target),
                expected="no file of this name, or one with the same content",
                found="one with other content",
                remedy="Add --overwrite to replace it, or move it away. Nothing was written.",
            )
        return "replaced"

    def publish(self) -> None:
        """Renames the staged files into place."""
        for target, state in self.states.items():
            if state != "unchanged":
                with writing(target):
                    (self.folder / target.name).replace(target)


@contextmanager
def delivery(inbox: Path, *, overwrite: bool) -> Iterator[Delivery]:
    """A delivery that is published when the block ends well, and leaves nothing when it does not.

    Raises:
        HomeUnusable: the inbox cannot be written to.
    """
    folder = inbox / f"{_FOLDER}{os.getpid()}"
    with writing(inbox):
        inbox.mkdir(parents=True, exist_ok=True)
        _sweep(inbox)
        folder.mkdir()
    try:
        under_way = Delivery(inbox, folder, overwrite)
        yield under_way
        under_way.publish()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turns what the disk refuses into HomeUnusable."""
    try:
        yield
    except OSError as error:
        raise unusable(target, error) from error


def refuse_other_formats(inbox: Path, kind: Kind, month: Month, target: Path) -> None:
    """Refuses a second file for a month that has one under another ending.

    Raises:
        FileAmbiguous: there is one.
    """
    others = [path for path in list_files(inbox, kind).get(month, []) if path.name != target.name]
    if others:
        raise FileAmbiguous(
            str(inbox),
            expected=f"no other file than {target.name} for {kind} of {month}",
            found=", ".join(path.name for path in others),
            remedy="Move it away, or choose its format. Nothing was written.",
        )


def _sweep(inbox: Path) -> None:
    """Removes what killed deliveries left."""
    for folder in inbox.glob(f"{_FOLDER}*"):
        if not _alive(folder.name.removeprefix(_FOLDER)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: str) -> bool:
    if pid == str(os.getpid()):
        return False
    with suppress(ValueError, ProcessLookupError):
        try:
            os.kill(int(pid), 0)
        except PermissionError:
            return True
        return True
    return False


# ── Formats ─────────────────────────────────────────────────────────────────────────────────────


def writer(frame: pl.DataFrame, suffix: str) -> Callable[[Path], None]:
    """How `frame` becomes a file of that format; the same frame always gives the same bytes.

    Raises:
        UsageError: no such format.
    """
    if suffix not in _WRITERS:
        raise UsageError(
            "format",
            expected=f"one of {', '.join(_WRITERS)}",
            found=repr(suffix),
            remedy="Choose one of these.",
        )
    return lambda path: _WRITERS[suffix](frame, path)


def _write_csv(frame: pl.DataFrame, path: Path) -> None:
    with path.open("wb") as stream:
        frame.write_csv(stream)


def _write_gzip(frame: pl.DataFrame, path: Path) -> None:
    # Neither a name nor a time in the gzip header: they would change the bytes.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as stream:
        frame.write_csv(cast(IO[bytes], stream))


def _write_parquet(frame: pl.DataFrame, path: Path) -> None:
    # Through memory: polars reports a full disk as an error of its own, a plain write as the OSError it is.
    content = io.BytesIO()
    frame.write_parquet(content, compression="zstd")
    path.write_bytes(content.getbuffer())


def _write_xlsx(frame: pl.DataFrame, path: Path) -> None:
    if frame.height > _XLSX_ROWS:
        raise UsageError(
            "format xlsx",
            expected=f"at most {_XLSX_ROWS:,} clients, which is what a sheet holds",
            found=f"{frame.height:,}",
            remedy="Choose csv or parquet.",
        )
    import xlsxwriter

    # xlsxwriter keeps sheets in files on the way: beside the target, not in the system's /tmp.
    options = {"tmpdir": str(path.parent)}
    try:
        with path.open("wb") as stream, xlsxwriter.Workbook(stream, options) as book:
            book.set_properties({"created": _XLSX_CREATED})
            frame.write_excel(book, "Data", autofilter=False)
    except xlsxwriter.exceptions.XlsxWriterException as error:
        raise _disk_error(error) from error


def _disk_error(error: Exception) -> Exception:
    """The OSError that a library has wrapped, or the error itself."""
    wrapped = error.args[0] if error.args else None
    return wrapped if isinstance(wrapped, OSError) else error


_WRITERS: dict[str, Callable[[pl.DataFrame, Path], None]] = {
    "csv": _write_csv,
    "csv.gz": _write_gzip,
    "parquet": _write_parquet,
    "xlsx": _write_xlsx,
}
