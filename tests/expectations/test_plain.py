"""The straight way of reading gives what the exact way gives, for files plain and nasty."""

import gzip
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from creditflow.errors import HomeUnusable, InputRefused
from creditflow.month import Month
from expectations import intake, reader, staging, textfile
from expectations.hashing import IdSet, repeated_hashes
from expectations.intake import Context, check_file
from expectations.reader import open_raw
from expectations.staging import stage_table

Rows = list[list[str]]
MONTH = Month(2005, 9)
RELAXED = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
ODD = [
    "",
    " ",
    "NA",
    "nan",
    "inf",
    "-inf",
    "1e3",
    "1E2",
    "+5",
    " 7",
    "8 ",
    "3.5",
    "5.0",
    "-0",
    "-0.0",
    ".5",
    "5.",
]
ODD += [
    "1_000",
    "0x10",
    "abc",
    "2147483648",
    "-2147483649",
    "32768",
    "1e400",
    "007",
    "1,5",
    "\t",
    "é",
    "#",
    "1\x0b",
]
ids = st.sampled_from(["A1", "B 2", " ", "", "C3 ", "1e+05", "12", "12.0", "D\x0b", "é", "#4", "null"])


def _seen(path: Path, kind: str, stage: Path) -> Any:
    """All that the rest of the intake rests on, or the refusal."""
    stage.mkdir(exist_ok=True)
    try:
        raw = open_raw(path, kind, stage)  # type: ignore[arg-type]
        table, facts = stage_table(path, raw, stage)
    except InputRefused as error:
        return type(error), str(error)
    cells = raw.frame.select(pl.exclude("^extra_.*$")).collect()
    marks = table.marks.sort("row_number")
    about = (raw.rows, raw.header, raw.fingerprint, raw.line_ends, table.received, table.label, facts)
    return table.rows.collect(), marks, table.again.to_frame(), cells, about


def _exactly(path: Path, kind: str, stage: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_read_plain_text", lambda *_: None)
        patch.setattr(reader, "_parquet_numbers", lambda *_: None)
        return _seen(path, kind, stage)


def _assert_same(path: Path, kind: str, folder: Path) -> None:
    straight, exact = _seen(path, kind, folder / "a"), _exactly(path, kind, folder / "b")
    assert len(straight) == len(exact), (straight, exact)
    if len(exact) == 2:
        assert straight == exact
        return
    for one, other in zip(straight[:-1], exact[:-1], strict=True):
        assert_frame_equal(one, other, check_exact=True)
    assert straight[-1] == exact[-1]


edits = st.tuples(st.integers(0, 30), st.integers(0, 24), st.sampled_from(ODD))


@RELAXED
@given(
    cells=st.lists(edits, max_size=4),
    names=st.lists(st.tuples(st.integers(0, 30), ids), max_size=3),
    separator=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    packed=st.booleans(),
    damage=st.sampled_from(
        [None, None, None, "short", "long", "both", "blank", "no end", "bom", "mixed", "quote"]
    ),
)
@example(
    cells=[(0, 0, "x"), (3, 1, "5.0")], names=[], separator=",", end="\r\n", packed=False, damage="no end"
)
def test_straight_way_gives_what_the_exact_way_gives(
    tmp_path: Path,
    valid: Callable[[int], Rows],
    csv_bytes: Callable[..., bytes],
    cells: list[tuple[int, int, str]],
    names: list[tuple[int, str]],
    separator: str,
    end: str,
    packed: bool,
    damage: str | None,
) -> None:
    table = valid(31)
    for row, column, cell in cells:
        table[1 + row][column] = cell
    for row, name in names:
        table[1 + row][0] = name
    if damage in ("short", "both"):
        table[5].pop()
    if damage in ("long", "both"):
        table[9].append("7")
    content = csv_bytes(table, separator, end)
    line_end = end.encode()
    content = {
        "blank": content.replace(line_end, line_end * 2, 3),
        "no end": content.removesuffix(line_end),
        "bom": b"\xef\xbb\xbf" + content,
        "mixed": content.replace(line_end, b"\r\n", 5),
        "quote": content.replace(b"1", b'"1"', 1),
    }.get(damage or "", content)
    path = tmp_path / f"clients_2005-09.csv{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(content) if packed else content)
    _assert_same(path, "clients", tmp_path)


@RELAXED
@given(rows=st.lists(st.tuples(ids, st.sampled_from(["0", "1", "2", *ODD])), min_size=1, max_size=12))
def test_straight_way_of_outcomes(
    tmp_path: Path, csv_bytes: Callable[..., bytes], rows: list[tuple[str, str]]
) -> None:
    path = tmp_path / "outcomes_2005-09.csv"
    path.write_bytes(csv_bytes([["ID", "Y"], *map(list, rows)]))
    _assert_same(path, "outcomes", tmp_path)


@RELAXED
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["A", "B", "", None]), st.sampled_from([0, 1, 2**31, None])), min_size=1
    ),
    floats=st.booleans(),
    number=st.sampled_from([0.5, float("nan"), float("inf"), -0.0, 2.0**31, None]),
)
def test_straight_way_of_parquet(
    tmp_path: Path, rows: list[tuple[str | None, int | None]], floats: bool, number: float | None
) -> None:
    frame = pl.DataFrame(rows, schema={"ID": pl.String, "Y": pl.Int64}, orient="row")
    if floats:
        last = pl.DataFrame({"ID": ["Z"], "Y": [number]}, schema={"ID": pl.String, "Y": pl.Float64})
        frame = pl.concat([frame.cast({"Y": pl.Float64}), last])
    path = tmp_path / "outcomes_2005-09.parquet"
    frame.write_parquet(path)
    _assert_same(path, "outcomes", tmp_path)


def test_plain_file_goes_the_straight_way(
    tmp_path: Path,
    valid: Callable[[int], Rows],
    write_table: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or all of the above would compare the exact way with itself."""
    monkeypatch.setattr(reader, "stage_text", None)
    monkeypatch.setattr(staging, "_exact", None)
    table = valid(40)
    table[20][12], table[30][2] = "abc", "1.5"
    for suffix in (".csv", ".csv.gz"):
        path = write_table(table, suffix)
        found = _seen(path, "clients", tmp_path / suffix[1:])[0]
        assert found["text_cells"].to_list() == [int(n == 20) for n in range(1, 41)]
        assert found["fraction_cells"].to_list() == [int(n == 30) for n in range(1, 41)]


def test_many_odd_rows_go_the_exact_way(
    tmp_path: Path,
    valid: Callable[[int], Rows],
    write_table: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(staging, "LEAST_ODD", 1)
    table = valid(40)
    for row in table[1:]:
        row[12] = "abc"
    path = write_table(table)
    raw = open_raw(path, "clients", tmp_path)
    assert raw.numbers is not None
    assert staging._straight(raw, tmp_path) is None
    _assert_same(path, "clients", tmp_path)


def test_ids_whose_hashes_agree_are_told_apart(
    tmp_path: Path, csv_bytes: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "repeated_hashes", lambda values: pl.Series("hash", values).unique())
    path = tmp_path / "outcomes_2005-09.csv"
    path.write_bytes(csv_bytes([["ID", "Y"], ["a", "0"], ["b", "0"], ["a", "1"]]))
    raw = open_raw(path, "outcomes", tmp_path)
    table, _ = stage_table(path, raw, tmp_path)
    assert table.marks.sort("row_number").rows(named=True) == [
        {"row_number": 1, "id_copies": 2},
        {"row_number": 3, "id_copies": 2},
    ]
    assert table.again.to_list() == [3]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_id_set_holds_ids_that_share_one_hash(order: tuple[int, int]) -> None:
    known = IdSet(pl.LazyFrame({"id": ["a", "b"]}), "id")
    asked = pl.Series(["a"])
    known._first[:] = asked.hash(0)[0]
    known._second[:] = [(asked.hash(1)[0], 7)[place] for place in order]
    assert known.holds(asked).to_list() == [1]
    known._second[:] = 7
    assert known.holds(asked).to_list() == [0]


def test_id_set() -> None:
    known = IdSet(pl.LazyFrame({"id": [f"C{n}" for n in range(1000)]}), "id")
    assert known.holds(pl.Series(["C0", "C999", "C1000", "", None, "c0"])).to_list() == [1, 1, 0, 0, 0, 0]
    assert IdSet(pl.LazyFrame({"id": []}, schema={"id": pl.String}), "id").holds(
        pl.Series(["a"])
    ).to_list() == [0]


def test_repeated_hashes() -> None:
    values = pl.Series([5, 2**64 - 1, 5, 7, 2**64 - 1, 5], dtype=pl.UInt64).to_numpy()
    assert repeated_hashes(values).to_list() == [5, 2**64 - 1]
    assert repeated_hashes(values[:0]).to_list() == []


# --- what is known before a byte is written ----------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_file_that_cannot_fit_is_refused_before_anything_is_written(
    tmp_path: Path,
    valid: Callable[[int], Rows],
    write_table: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
) -> None:
    path = write_table(valid(40), suffix)
    size = path.stat().st_size
    needed = int(size * intake.SPACE[suffix])
    monkeypatch.setattr(textfile.shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    with pytest.raises(HomeUnusable, match=f"{needed:,} bytes free.*{path.name}.*{needed - 1:,} bytes"):
        check_file(path, "clients", MONTH, tmp_path / "work", Context())
    assert not (tmp_path / "work").exists()
    monkeypatch.setattr(textfile.shutil, "disk_usage", lambda _: SimpleNamespace(free=needed))
    assert check_file(path, "clients", MONTH, tmp_path / "work", Context()).accepted == 40


def test_parts_are_entered_in_turn(tmp_path: Path, valid: Callable[[int], Rows], write_table: Any) -> None:
    from contextlib import contextmanager

    told: list[str] = []

    @contextmanager
    def step(name: str) -> Any:
        told.append(name)
        yield
        told.append(f"/{name}")

    check_file(write_table(valid(40)), "clients", MONTH, tmp_path / "work", Context(), step=step)
    assert told == ["read", "/read", "check", "/check", "split", "/split"]
