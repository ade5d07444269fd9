"""Reads an XLS or XLSX workbook in a process of its own, with a limit on memory and time.

A few damaged bytes in a workbook can make its reader ask for all memory there is, and the system then
ends the process without a word. Here that is the end of a helper process only, and one clear line:

    python -m expectations.workbook FILE FOLDER BYTES

writes `cells.parquet` (the sheet that is read, every cell as text), `inexact.parquet` (per column that
holds long numbers: which cells are numbers that a workbook cannot keep exactly) and `sheets.json`.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Literal

import polars as pl

EXACT_FLOAT = 2**53
SECONDS = 900
LIMIT_BYTES = 8 << 30
_BAD_WORKBOOK, _BAD_FOLDER = 3, 4
_Kind = Literal["boolean", "float"]


class WorkbookError(Exception):
    """The workbook cannot be read; the text says why."""


def convert(path: Path, folder: Path) -> int:
    """Write the first sheet that holds something to `folder`; gives the number of further such sheets.

    Raises:
        WorkbookError: damaged, protected by a password, empty, or asking for too much memory or time.
        OSError: `folder` cannot be written to.
    """
    command = [sys.executable, "-m", "expectations.workbook", str(path.resolve()), str(folder.resolve())]
    command.append(str(LIMIT_BYTES))
    room = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    try:
        run = subprocess.run(command, env=room, capture_output=True, text=True, timeout=SECONDS)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise WorkbookError(f"reading it took more than {SECONDS} seconds") from error
    lines = run.stderr.strip().splitlines() or ["no reason was given"]
    if run.returncode == _BAD_FOLDER:
        raise OSError(lines[-1])
    if run.returncode == _BAD_WORKBOOK:
        raise WorkbookError(lines[-1])
    if run.returncode != 0:
        raise WorkbookError("its content asks for more memory than there is")
    return int(json.loads((folder / "sheets.json").read_text("utf-8"))["others"])


# --- in the process of its own -----------------------------------------------------------------------


def main(path: Path, folder: Path, limit: int) -> int:
    """Exit code: 0, _BAD_WORKBOOK or _BAD_FOLDER; the reason is the last line on stderr."""
    _limit_memory(limit)
    import fastexcel

    try:
        book = fastexcel.read_excel(path)
        filled = [
            name for name in book.sheet_names if book.load_sheet(name, header_row=None, n_rows=50).height
        ]
        cells = book.load_sheet(filled[0], header_row=None, dtypes="string").to_polars() if filled else None
        inexact = _inexact(book, filled[0], cells) if cells is not None else pl.DataFrame()
    except (fastexcel.FastExcelError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        return _fail(error, _BAD_WORKBOOK)
    try:
        (pl.DataFrame() if cells is None else cells).write_parquet(folder / "cells.parquet")
        inexact.write_parquet(folder / "inexact.parquet")
        (folder / "sheets.json").write_text(json.dumps({"others": max(0, len(filled) - 1)}), "utf-8")
    except OSError as error:
        return _fail(error, _BAD_FOLDER)
    return 0


def _limit_memory(most: int) -> None:
    there_is = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = min(most, there_is * 6 // 10)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _fail(error: BaseException, code: int) -> int:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    sys.stderr.write(f"\n{lines[0]}\n")
    return code


def _inexact(book: "fastexcel.ExcelReader", sheet: str, cells: pl.DataFrame) -> pl.DataFrame:  # type: ignore[name-defined]  # noqa: F821
    """Which cells of a column are numbers from 2^53 on.

    Only a numeric cell can be read as a boolean: this tells the number 12345678901234567 (which a
    workbook keeps as a rounded float) from the same digits kept as text, which are exact.
    """
    long = cells.select(pl.all().str.contains(r"^-?\d{16,}$").any().fill_null(False)).row(0)
    found = {}
    for place in (i for i, holds in enumerate(long) if holds):
        kinds: tuple[_Kind, _Kind] = ("boolean", "float")
        number, value = (
            book.load_sheet(sheet, header_row=None, dtypes={place: kind}, dtype_coercion="coerce")
            .to_polars()
            .to_series(place)
            for kind in kinds
        )
        found[str(place)] = (number.is_not_null() & (value.abs() >= EXACT_FLOAT)).fill_null(False)
    return pl.DataFrame(found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
