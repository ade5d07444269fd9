"""Round trips of cells and IDs, and files mangled at random."""

import io
import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from creditflow.errors import FileUnreadable, InputRefused
from creditflow.month import Month
from expectations import workbook
from expectations.intake import Context, check_file
from expectations.reader import open_raw
from expectations.staging import stage_table
from expectations.textfile import stage_text

Rows = list[list[str]]
RELAXED = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
# A record stands on one line, so an ID holds no line end; NUL and lone surrogates are no UTF-8 text.
texts = st.text(
    st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), min_size=1, max_size=12
)
ids = texts.filter(lambda t: t.strip() != "" and not t.endswith(".0"))
cells = st.one_of(st.integers(-(2**31), 2**31 - 1), st.floats(-1e9, 1e9, allow_nan=False))


@RELAXED
@given(clients=st.lists(ids, min_size=1, max_size=8), separator=st.sampled_from(",;\t"))
@example(clients=['"', '""', '","', ";", "a\u2028b", "a\x0b", "\ufeff1"], separator=";")
def test_ids_round_trip(
    tmp_path: Path, csv_bytes: Callable[..., bytes], clients: list[str], separator: str
) -> None:
    path = tmp_path / "outcomes_2005-09.csv"
    path.write_bytes(csv_bytes([["ID", "Y"], *([c, "1"] for c in clients)], separator))
    raw = open_raw(path, "outcomes", tmp_path)
    table, _ = stage_table(path, raw, tmp_path)
    assert table.rows.select("client_id").collect().to_series().to_list() == clients


@RELAXED
@given(values=st.lists(cells, min_size=1, max_size=8), form=st.sampled_from(["{!r}", " {!r} ", "+{!r}"]))
def test_numbers_round_trip(
    tmp_path: Path,
    valid: Callable[[int], Rows],
    csv_bytes: Callable[..., bytes],
    values: list[float],
    form: str,
) -> None:
    table = valid(len(values))
    for row, value in zip(table[1:], values, strict=True):
        row[12] = form.format(value) if value >= 0 or "+" not in form else repr(value)
    path = tmp_path / "clients_2005-09.csv"
    path.write_bytes(csv_bytes(table))
    staged, _ = stage_table(path, open_raw(path, "clients", tmp_path), tmp_path)
    assert staged.rows.select("bill_amt1").collect().to_series().to_list() == [float(v) for v in values]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_chunks_do_not_matter(tmp_path: Path, size: int) -> None:
    text = '\ufeffID,Y\r\n"é,1",0\r\r\n客户,1\n'.encode()
    chunks = (text[i : i + size] for i in range(0, len(text), size))
    copy = stage_text(chunks, tmp_path / "f.csv", tmp_path / "copy", lambda _: ",")
    assert copy.path.read_text("utf-8") == 'ID,Y\n"é,1",0\n\n客户,1\n'
    assert (copy.lines, copy.width, copy.line_ends) == (4, 2, "CR and LF and CRLF")


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_bad_byte_is_named(tmp_path: Path, size: int) -> None:
    text = b"ID,Y\r\nabc\r\nd\xc3\xa9\xff"
    chunks = (text[i : i + size] for i in range(0, len(text), size))
    with pytest.raises(FileUnreadable, match=r"f.csv, line 3, byte 14 of the file.*0xff"):
        stage_text(chunks, tmp_path / "f.csv", tmp_path / "copy", lambda _: ",")


# --- mangled files -----------------------------------------------------------------------------------


def _mangle(content: bytes, seed: int) -> bytes:
    """Cut, flip, insert, delete or repeat some bytes."""
    rng = random.Random(seed)
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data) + 1)
        width = rng.choice([1, 1, 2, 16, 200])
        match rng.randrange(5):
            case 0:
                del data[place:]
            case 1 if place < len(data):
                data[place] ^= 1 << rng.randrange(8)
            case 2:
                data[place:place] = rng.choice(
                    [rng.randbytes(width), b'"', b"\n", b",", b"\r\n\r\n", b"9" * width]
                )
            case 3:
                del data[place : place + width]
            case _:
                data[place:place] = data[place : place + width]
    return bytes(data)


MANGLED = [(suffix, seed) for suffix in (".csv", ".csv.gz", ".parquet") for seed in range(60)]
# A workbook is read in a process of its own, which takes time.
# Seed 0 makes the XLS reader ask for all the memory there is.
MANGLED += [(suffix, seed) for suffix in (".xls", ".xlsx") for seed in range(6)]


@pytest.mark.parametrize(("suffix", "seed"), MANGLED)
def test_mangled_files_are_read_or_refused(
    valid: Callable[[int], Rows],
    write_table: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
    seed: int,
) -> None:
    monkeypatch.setattr(workbook, "LIMIT_BYTES", 2 << 30)
    path = write_table(valid(20), suffix)
    path.write_bytes(_mangle(path.read_bytes(), seed))
    try:
        raw = open_raw(path, "clients", tmp_path)
        table, _ = stage_table(path, raw, tmp_path)
    except InputRefused:
        return
    assert table.received <= raw.rows


@pytest.mark.parametrize("seed", range(12))
def test_mangled_files_keep_their_rows(
    valid: Callable[[int], Rows], csv_bytes: Callable[..., bytes], tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "clients_2005-09.csv"
    path.write_bytes(_mangle(csv_bytes(valid(60)), 1000 + seed))
    context = Context(max_quarantine_share=1.0)
    try:
        checked = check_file(path, "clients", Month(2005, 9), tmp_path / "work", context)
    except InputRefused:
        return
    kept = pl.read_parquet(checked.accepted_parquet)["row_number"].to_list()
    aside = pl.read_parquet(checked.quarantine_parquet)["row_number"].to_list()
    assert len({*kept, *aside}) == len(kept) + len(aside) == checked.received


def test_second_sheet(valid: Callable[[int], Rows], tmp_path: Path) -> None:
    table = valid(5)
    book = io.BytesIO()
    import xlsxwriter

    with xlsxwriter.Workbook(book) as workbook:
        workbook.add_worksheet("empty")
        sheet = workbook.add_worksheet("data")
        for i, row in enumerate(table):
            sheet.write_row(i, 0, row)
    path = tmp_path / "clients_2005-09.xlsx"
    path.write_bytes(book.getvalue())
    raw = open_raw(path, "clients", tmp_path)
    assert (raw.rows, raw.other_sheets) == (5, 0)
