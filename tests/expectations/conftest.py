"""Small client files in every format and spelling."""

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import xlwt

from creditflow.month import Month
from expectations.intake import CheckedFile, Context, Kind, check_file

MONTH = Month(2005, 9)
NAMES = [
    *("ID", "LIMIT_BAL", "SEX", "EDUCATION", "MARRIAGE", "AGE"),
    *("PAY_0", *(f"PAY_{n}" for n in range(2, 7))),
    *(f"BILL_AMT{n}" for n in range(1, 7)),
    *(f"PAY_AMT{n}" for n in range(1, 7)),
    "default payment next month",
]
Rows = list[list[str]]


def make_rows(count: int = 40) -> Rows:
    """Valid rows, all different, with negative bills and undocumented codes among them."""
    return [
        [
            *(str(1000 + i), str(20000 + 10000 * (i % 30)), str(1 + i % 2), str(i % 7), str(i % 4)),
            str(21 + i % 50),
            *(str((i + k) % 12 - 2) for k in range(6)),
            *(str(1000 * k - 37 * i) for k in range(6)),
            *(str(13 * i + k) for k in range(6)),
            str(i % 4 // 3),
        ]
        for i in range(count)
    ]


def to_csv(table: Rows, separator: str = ",", end: str = "\n") -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=separator, lineterminator=end).writerows(table)
    return out.getvalue().encode()


def _write_xls(path: Path, table: Rows) -> None:
    book = xlwt.Workbook()
    sheet = book.add_sheet("Data")
    for i, row in enumerate(table):
        for j, cell in enumerate(row):
            sheet.write(i, j, _number(cell))
    book.save(str(path))


def _number(cell: str) -> int | str:
    return int(cell) if cell.lstrip("-").isdecimal() and cell.isascii() else cell


def _typed(cells: list[str]) -> list[int] | list[str]:
    """Numbers where the whole column is numbers: a column of a typed format has one type."""
    numbers = [_number(cell) for cell in cells]
    return numbers if all(isinstance(n, int) for n in numbers) else cells  # type: ignore[return-value]


def _write_frame(path: Path, table: Rows) -> None:
    frame = pl.DataFrame({name: _typed([row[j] for row in table[1:]]) for j, name in enumerate(table[0])})
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_excel(path)


def write(path: Path, table: Rows) -> Path:
    """Write header and rows in the format of the path's ending."""
    if path.name.endswith(".csv.gz"):
        path.write_bytes(gzip.compress(to_csv(table)))
    elif path.suffix == ".csv":
        path.write_bytes(to_csv(table))
    elif path.suffix == ".xls":
        _write_xls(path, table)
    else:
        _write_frame(path, table)
    return path


@pytest.fixture
def rows() -> Rows:
    return make_rows()


@pytest.fixture
def names() -> list[str]:
    return list(NAMES)


@pytest.fixture
def write_table(tmp_path: Path) -> Callable[..., Path]:
    def _write(table: Rows, suffix: str = ".csv", kind: str = "clients") -> Path:
        return write(tmp_path / f"{kind}_2005-09{suffix}", table)

    return _write


@pytest.fixture
def check(tmp_path: Path) -> Callable[..., CheckedFile]:
    """Check a path, or bytes that are written as a CSV first."""

    def _check(source: Path | bytes, kind: Kind = "clients", **context: Any) -> CheckedFile:
        path = source if isinstance(source, Path) else tmp_path / f"{kind}_2005-09.csv"
        if isinstance(source, bytes):
            path.write_bytes(source)
        return check_file(path, kind, MONTH, tmp_path / "work", Context(**context))

    return _check


@pytest.fixture
def csv_bytes() -> Callable[..., bytes]:
    return to_csv


@pytest.fixture(scope="session")
def valid() -> Callable[[int], Rows]:
    """Header and any number of valid rows."""
    return lambda count: [list(NAMES), *make_rows(count)]
