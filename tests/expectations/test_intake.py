"""A file goes in, accepted and quarantined rows come out, or one clear line."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from creditflow.columns import CLIENT_SCHEMA
from creditflow.errors import (
    ContentRefused,
    FileUnreadable,
    HeaderRefused,
    HomeUnusable,
    InputRefused,
)
from creditflow.month import Month
from expectations.intake import CheckedFile, Context, check_file
from expectations.reader import open_raw
from expectations.staging import stage_table

X_NAMES = ["", *(f"X{n}" for n in range(1, 24)), "Y"]
Rows = list[list[str]]
FORMATS = [".csv", ".csv.gz", ".parquet", ".xls", ".xlsx"]
Check = Callable[..., CheckedFile]


def _accepted(checked: CheckedFile) -> pl.DataFrame:
    assert checked.received == checked.accepted + checked.quarantined
    return pl.read_parquet(checked.accepted_parquet)


def _outcomes(checked: CheckedFile) -> pl.DataFrame:
    assert checked.outcomes_parquet is not None
    return pl.read_parquet(checked.outcomes_parquet)


# --- every spelling loads to the same table ----------------------------------------------------------

SPELLINGS: dict[str, Callable[[list[str]], list[str]]] = {
    "original": lambda names: names,
    "PAY_1": lambda names: ["PAY_1" if n == "PAY_0" else n for n in names],
    "dots": lambda names: [*names[:-1], "default.payment.next.month"],
    "underscores": lambda names: [*names[:-1], "default_payment_next_month"],
    "Y": lambda names: [*names[:-1], "Y"],
    "lower case": lambda names: [n.lower() for n in names],
    "spaces": lambda names: [f" {n.replace('_', ' ')} " for n in names],
    "X with ID": lambda names: ["ID", *X_NAMES[1:]],
    "regular": lambda names: [
        *CLIENT_SCHEMA,
        "defaulted",
    ],
}


def _staged(path: Path, stage: Path) -> pl.DataFrame:
    """The typed table, with everything that rules and results are made from."""
    stage.mkdir(exist_ok=True)
    raw = open_raw(path, "clients", stage)
    table, _ = stage_table(path, raw, stage)
    assert table.received == table.rows.select(pl.len()).collect().item()
    return table.rows.drop("row_hash").collect()


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spellings_and_formats(
    rows: Rows, names: list[str], write_table: Callable[..., Path], tmp_path: Path, spelling: str, suffix: str
) -> None:
    expected = _staged(write_table([names, *rows]), tmp_path / "a")
    seen = _staged(write_table([SPELLINGS[spelling](names), *rows], suffix), tmp_path / "b")
    assert_frame_equal(seen, expected)
    assert seen.height == len(rows)


@pytest.mark.parametrize("suffix", FORMATS)
def test_formats_are_accepted_alike(
    rows: Rows, names: list[str], write_table: Callable[..., Path], check: Check, suffix: str
) -> None:
    checked = check(write_table([names, *rows], suffix))
    accepted = _accepted(checked)
    assert accepted.schema == {**CLIENT_SCHEMA, "row_number": pl.Int64}
    assert [
        [*map(str, row[:-1])] for row in accepted.cast(pl.Float64, strict=False).cast(pl.Int64).rows()
    ] == [row[:-1] for row in rows]
    assert _outcomes(checked)["defaulted"].to_list() == [int(row[-1]) for row in rows]


def _x_header(text: bytes) -> bytes:
    return ",".join(X_NAMES).encode() + b"\n" + text


TEXTS: dict[str, Callable[[Rows, Callable[..., bytes]], bytes]] = {
    "BOM": lambda t, w: b"\xef\xbb\xbf" + w(t),
    "CR": lambda t, w: w(t, end="\r"),
    "CRLF": lambda t, w: w(t, end="\r\n"),
    "BOM, CRLF, semicolon": lambda t, w: b"\xef\xbb\xbf" + w(t, ";", "\r\n"),
    "semicolon": lambda t, w: w(t, ";"),
    "tab": lambda t, w: w(t, "\t"),
    "banner": lambda t, w: _x_header(w(t)),
    "X alone, blank ID": lambda t, w: _x_header(w(t[1:])),
    "floats": lambda t, w: w([t[0], *([f"{c}.0" for c in row] for row in t[1:])]),
    "quotes": lambda t, w: w(t).replace(b",", b'","').replace(b"\n", b'"\n"').join([b'"', b""])[:-1],
    "no last line end": lambda t, w: w(t)[:-1],
    "blank lines": lambda t, w: b"\n \n" + w(t) + b"\n\n,,,\n",
    "separator at the end": lambda t, w: w(t).replace(b"\n", b",\n"),
    "white space": lambda t, w: w([t[0], *([r[0], *(f" {c} " for c in r[1:])] for r in t[1:])]),
}


@pytest.mark.parametrize("form", TEXTS)
def test_forms_of_text(
    rows: Rows, names: list[str], csv_bytes: Callable[..., bytes], tmp_path: Path, form: str
) -> None:
    table = [names, *rows]
    path = tmp_path / "clients_2005-09.csv"
    path.write_bytes(csv_bytes(table))
    expected = _staged(path, tmp_path / "a")
    path.write_bytes(TEXTS[form](table, csv_bytes))
    seen = _staged(path, tmp_path / "b")
    # Blank lines are no rows, but they count where a row stands.
    assert_frame_equal(seen.drop("row_number"), expected.drop("row_number"))


def test_banner_in_xls(
    rows: Rows, names: list[str], write_table: Callable[..., Path], tmp_path: Path
) -> None:
    expected = _staged(write_table([names, *rows]), tmp_path / "a")
    seen = _staged(write_table([X_NAMES, names, *rows], ".xls"), tmp_path / "b")
    assert_frame_equal(seen, expected)


def test_many_members_of_gzip(
    rows: Rows, names: list[str], csv_bytes: Callable[..., bytes], check: Check, tmp_path: Path
) -> None:
    text = csv_bytes([names, *rows])
    path = tmp_path / "clients_2005-09.csv.gz"
    path.write_bytes(b"".join(gzip.compress(text[i : i + 7]) for i in range(0, len(text), 7)) + b"\0\0")
    assert check(path).accepted == len(rows)


def test_empty_label_column_is_no_label(
    rows: Rows, names: list[str], csv_bytes: Callable[..., bytes], check: Check
) -> None:
    checked = check(csv_bytes([names, *([*row[:-1], ""] for row in rows)]))
    assert (checked.has_label, checked.outcomes_parquet, checked.accepted) == (False, None, len(rows))
    assert {r.reason for r in checked.results if r.column_name == "defaulted"} == {
        "the label column is empty"
    }


# --- rows that are set aside -------------------------------------------------------------------------

CELLS = [
    ("LIMIT_BAL", "abc", "text in a number"),
    ("LIMIT_BAL", "1,000", "text in a number"),
    ("BILL_AMT3", "", "missing value"),
    ("AGE", "NA", "missing value"),
    ("PAY_AMT1", "NaN", "NaN"),
    ("PAY_AMT1", "inf", "infinity"),
    ("BILL_AMT1", "-Infinity", "infinity"),
    ("BILL_AMT1", "2147483648", "number beyond int32"),
    ("BILL_AMT1", "-2147483649", "number beyond int32"),
    ("AGE", "99999999999", "number beyond int32"),
    ("SEX", "1.5", "code not a whole number"),
    ("LIMIT_BAL", "0", "non-positive limit"),
    ("LIMIT_BAL", "-5", "non-positive limit"),
    ("AGE", "17", "age out of range"),
    ("AGE", "121", "age out of range"),
    ("SEX", "3", "code out of range"),
    ("EDUCATION", "7", "code out of range"),
    ("MARRIAGE", "-1", "code out of range"),
    ("PAY_0", "10", "code out of range"),
    ("PAY_6", "-3", "code out of range"),
    ("ID", "", "missing client ID"),
    ("ID", "1.23E+17", "spreadsheet client ID"),
    ("default payment next month", "", "missing label"),
    ("default payment next month", "2", "label other than 0 or 1"),
    ("default payment next month", "yes", "text in a number"),
]
REGULAR = {"PAY_0": "pay_1", "ID": "client_id", "default payment next month": "defaulted"}


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory, valid: Callable[..., Rows]) -> tuple[CheckedFile, Rows]:
    """A file of 600 rows, of which row 10, 20, 30 … each hold one of the bad cells."""
    folder = tmp_path_factory.mktemp("spoilt")
    table = valid(600)
    for place, (column, value, _) in enumerate(CELLS, start=1):
        table[10 * place][table[0].index(column)] = value
    path = folder / "clients_2005-09.csv"
    path.write_text("\n".join(",".join(f'"{c}"' if "," in c else c for c in row) for row in table))
    return check_file(path, "clients", Month(2005, 9), folder / "work", Context()), table


@pytest.mark.parametrize("place", range(1, len(CELLS) + 1), ids=[f"{c} {v!r}" for c, v, _ in CELLS])
def test_bad_cell_sets_its_row_aside(spoilt: tuple[CheckedFile, Rows], place: int) -> None:
    checked, table = spoilt
    column, value, rule = CELLS[place - 1]
    aside = pl.read_parquet(checked.quarantine_parquet)
    record = aside.filter(pl.col("row_number") == 10 * place).row(0, named=True)
    assert record["rule"] == rule
    assert record["column_name"] == REGULAR.get(column, column.lower())
    assert (record["value"] or "") == value
    raw = json.loads(record["raw_row"])
    assert list(raw) == table[0]
    assert [v or "" for v in raw.values()] == table[10 * place]


def test_only_the_bad_rows_are_set_aside(spoilt: tuple[CheckedFile, Rows]) -> None:
    checked, _ = spoilt
    assert (checked.received, checked.quarantined) == (600, len(CELLS))
    kept = set(_accepted(checked)["row_number"])
    assert kept == set(range(1, 601)) - {10 * place for place in range(1, len(CELLS) + 1)}
    results = {r.rule: r for r in checked.results if r.outcome == "failed"}
    assert results["text in a number"].unexpected == 3
    example = {"row_number": 10, "column": "limit_bal", "value": "abc"}
    assert json.loads(results["text in a number"].examples)[0] == example


def test_all_violations_are_kept(
    rows: Rows, names: list[str], csv_bytes: Callable[..., bytes], check: Check
) -> None:
    rows[3][1], rows[3][2], rows[3][5] = "x", "9", "y"
    record = pl.read_parquet(check(csv_bytes([names, *rows])).quarantine_parquet).row(0, named=True)
    assert [tuple(v.values()) for v in json.loads(record["violations"])] == [
        ("text in a number", "limit_bal", "x"),
        ("text in a number", "age", "y"),
        ("code out of range", "sex", "9"),
    ]


@pytest.mark.parametrize("extra", [["", "", "x"], ["y"], [*"abcdefgh"]])
def test_too_many_fields_are_kept(
    rows: Rows, names: list[str], csv_bytes: Callable[..., bytes], check: Check, extra: list[str]
) -> None:
    rows[5] += extra
    checked = check(csv_bytes([names, *rows]))
    record = pl.read_parquet(checked.quarantine_parquet).row(0, named=True)
    assert (checked.quarantined, record["row_number"], record["rule"]) == (1, 6, "too many fields")
    assert list(json.loads(record["raw_row"]).values())[len(names) :] == extra


def test_too_few_fields_are_missing_values(
    rows: Rows, names: list[str], csv_bytes: Callable[..., bytes], check: Check
) -> None:
    rows[0] = rows[0][:20]
    record = pl.read_parquet(check(csv_bytes([names, *rows])).quarantine_parquet).row(0, named=True)
    assert (record["rule"], record["column_name"]) == ("missing value", "pay_amt3")


def test_every_copy_of_an_id_is_set_aside(
    rows: Rows, names: list[str], csv_bytes: Callable[..., bytes], check: Check
) -> None:
    rows = [[str(i), *row[1:]] for i, row in enumerate(rows * 3)]
    rows[7][0] = rows[70][0] = rows[90][0]
    checked = check(csv_bytes([names, *rows]))
    aside = pl.read_parquet(checked.quarantine_parquet)
    assert aside["row_number"].to_list() == [8, 71, 91]
    assert set(aside["rule"]) == {"repeated client ID"}


IDS = [
    "<script>",
    "'; DROP TABLE clients; --",
    "007",
    "9223372036854775807",
    "-1",
    "Zoë 客户",
    '"',
    " 7 ",
    "a,b;c",
]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".xls", ".xlsx"])
def test_ids_survive_to_the_letter(
    rows: Rows, names: list[str], write_table: Callable[..., Path], tmp_path: Path, suffix: str
) -> None:
    # xlwt's helper writes digits as numbers: there, IDs of digits alone are the other test's matter.
    ids = [i for i in IDS if suffix != ".xls" or not i.lstrip("-").isdigit()]
    for row, client in zip(rows, ids, strict=False):
        row[0] = client
    seen = _staged(write_table([names, *rows], suffix), tmp_path / "a")
    assert seen["client_id"].to_list() == [row[0] for row in rows]


def test_integer_ids_of_parquet(rows: Rows, check: Check, tmp_path: Path, names: list[str]) -> None:
    ids = [2**63 - 1 - i for i in range(40)]
    frame = pl.DataFrame([[i, *map(int, r[1:])] for i, r in zip(ids, rows, strict=True)], names, orient="row")
    path = tmp_path / "clients_2005-09.parquet"
    frame.write_parquet(path)
    assert _accepted(check(path))["client_id"].to_list() == [str(i) for i in ids]
    frame.with_columns(pl.col("ID").cast(pl.Float64)).write_parquet(path)
    with pytest.raises(ContentRefused, match=r"column ID.*beyond 2\^53"):
        check(path)
    frame.with_columns(pl.int_range(40).cast(pl.Float64).alias("ID")).write_parquet(path)
    assert _accepted(check(path))["client_id"].to_list() == [str(i) for i in range(40)]


def test_large_numeric_ids_of_a_workbook(
    rows: Rows, names: list[str], write_table: Callable[..., Path], check: Check
) -> None:
    rows[0][0] = "12345678901234567"  # xlwt stores the number as a float, as every workbook does
    with pytest.raises(ContentRefused, match=r"beyond 2\^53"):
        check(write_table([names, *rows], ".xls"))


# --- files that are refused --------------------------------------------------------------------------


def _without(name: str) -> Callable[[Rows], Rows]:
    def drop(table: Rows) -> Rows:
        place = table[0].index(name)
        return [[c for j, c in enumerate(row) if j != place] for row in table]

    return drop


def _renamed(old: str, new: str) -> Callable[[Rows], Rows]:
    return lambda table: [[new if n == old else n for n in table[0]], *table[1:]]


def _every(column: int, value: str) -> Callable[[Rows], Rows]:
    return lambda table: [table[0], *([*r[:column], value, *r[column + 1 :]] for r in table[1:])]


TABLES = [
    ("missing column", _without("PAY_6"), HeaderRefused, r"1 missing: PAY_6"),
    ("close spelling", _renamed("PAY_6", "PAYY_6"), HeaderRefused, r"PAY_6 \(closest in the file: 'PAYY_6'"),
    ("duplicate", _renamed("AGE", "SEX"), HeaderRefused, r"SEX 2 times, as 'SEX' and 'SEX'"),
    ("PAY_0 and PAY_1", _renamed("PAY_2", "PAY_1"), HeaderRefused, r"PAY_1 2 times, as 'PAY_0' and 'PAY_1'"),
    ("unknown", lambda t: [[*r, "x"] for r in t], HeaderRefused, r"1 unknown: 'x'"),
    ("no header", lambda t: t[1:], HeaderRefused, r"no known column name: '1000'"),
    ("header only", lambda t: t[:1], ContentRefused, r"0 rows of data"),
    ("wrong type", _every(5, "old"), ContentRefused, r"column AGE: .*40 of 40 rows otherwise.*'old'"),
    ("half missing", _every(7, ""), ContentRefused, r"column PAY_2"),
    ("one ID", _every(0, "7"), ContentRefused, r"column ID: .*40 of 40"),
    ("too many set aside", lambda t: _every(1, "0")(t[:10]) + t[10:], ContentRefused,
     r"at most 5\.0%.*9 of 40 \(22\.5%\): non-positive limit, 9 times, as in row 1: LIMIT_BAL '0'"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "error", "message"), TABLES, ids=[t[0] for t in TABLES])
def test_tables_that_are_refused(
    rows: Rows, names: list[str], csv_bytes: Callable[..., bytes], check: Check, tmp_path: Path,
    name: str, change: Callable[[Rows], Rows], error: type[InputRefused], message: str,
) -> None:  # fmt: skip
    with pytest.raises(error, match=message) as caught:
        check(csv_bytes(change([names, *rows])))
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "work").iterdir())


BYTES = [
    ("empty", lambda b: b"", r"an empty file"),
    ("blank", lambda b: b"\n\n \n", r"an empty file"),
    ("UTF-16", lambda b: b.decode().encode("utf-16"), r"line 1.*UTF-16 byte order mark"),
    ("UTF-16 without mark", lambda b: b.decode().encode("utf-16-le"), r"line 1.*NUL bytes, as in UTF-16"),
    ("Latin-1", lambda b: b.replace(b"1003,", b"100\xe9,"), r"line 5, byte \d+.*0xe9"),
    ("NUL", lambda b: b.replace(b"1003,", b"1003\0,"), r"line 5: .*a NUL byte"),
    ("open quote", lambda b: b.replace(b"\n1003,", b'\n"1003,'), r"line 5: .*quote"),
    ("text after quote", lambda b: b.replace(b"\n1003,", b'\n"10"03,'), r"line 5: .*quote"),
    ("quoted line end", lambda b: b.replace(b"\n1003,", b'\n"10\n03",'), r"line 5: .*quote"),
    ("a Parquet file", lambda b: b"PAR1" + b, r"expected CSV text, as its name says, found a Parquet file"),
    ("a workbook", lambda b: b"PK\x03\x04" + b, r"found an XLSX workbook"),
    ("one long line", lambda b: b"x" * (2 << 20), r"line 1: expected lines of at most 1 MiB"),
    ("a wide row", lambda b: b + b"," * 1000, r"a row of 1001 fields"),
]


@pytest.mark.parametrize(("name", "change", "message"), BYTES, ids=[t[0] for t in BYTES])
def test_texts_that_are_refused(
    rows: Rows, names: list[str], csv_bytes: Callable[..., bytes], check: Check,
    name: str, change: Callable[[bytes], bytes], message: str,
) -> None:  # fmt: skip
    with pytest.raises(FileUnreadable, match=message):
        check(change(csv_bytes([names, *rows])))


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet", ".xls", ".xlsx"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_truncated_files(
    rows: Rows, names: list[str], write_table: Callable[..., Path], check: Check, suffix: str, share: float
) -> None:
    path = write_table([names, *rows], suffix)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FileUnreadable):
        check(path)


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet", ".xls", ".xlsx"])
def test_text_under_another_ending(tmp_path: Path, check: Check, suffix: str) -> None:
    path = tmp_path / f"clients_2005-09{suffix}"
    path.write_text("ID,LIMIT_BAL\n1,2\n")
    with pytest.raises(FileUnreadable, match=r"found CSV text\. Give the file the ending"):
        check(path)


def test_work_folder_is_full(
    rows: Rows, names: list[str], write_table: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_table([names, *rows])
    script = f"""
import resource, signal
from pathlib import Path
from creditflow.month import Month
from expectations.intake import Context, check_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (@@, @@))
check_file(Path({str(path)!r}), "clients", Month(2005, 9), Path({str(tmp_path / "w")!r}), Context())
"""
    for limit in (1000, 5000):  # the copy of the text does not fit; the typed table does not fit
        run = subprocess.run(
            [sys.executable, "-c", script.replace("@@", str(limit))],
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.stderr.splitlines()[-1].startswith("creditflow.errors.HomeUnusable"), run.stderr[-900:]


def test_work_folder_is_a_file(
    rows: Rows, names: list[str], write_table: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "w").touch()
    with pytest.raises(HomeUnusable):
        check_file(write_table([names, *rows]), "clients", Month(2005, 9), tmp_path / "w", Context())


# --- outcomes ----------------------------------------------------------------------------------------


@pytest.fixture
def known(tmp_path: Path) -> Path:
    path = tmp_path / "known.parquet"
    pl.DataFrame({"client_id": [str(i) for i in range(100)]}).write_parquet(path)
    return path


def test_outcomes(check: Check, known: Path) -> None:
    lines = [
        "ID;default.payment.next.month",
        *(f"{i};{i % 2}" for i in range(97)),
        "stranger;1",
        "98;2",
        "99;",
    ]
    checked = check("\n".join(lines).encode(), "outcomes", known_clients=known)
    assert (checked.accepted, checked.quarantined, checked.has_label) == (97, 3, False)
    aside = pl.read_parquet(checked.quarantine_parquet)
    assert aside.select("client_id", "rule", "value").rows() == [
        ("stranger", "unknown client", "stranger"),
        ("98", "outcome other than 0 or 1", "2"),
        ("99", "missing value", None),
    ]
    assert _accepted(checked).schema == {"client_id": pl.String, "defaulted": pl.Int8, "row_number": pl.Int64}


def test_outcomes_without_client_file(check: Check) -> None:
    checked = check(b"ID,Y\n1,0\n2,1\n", "outcomes")
    result = next(r for r in checked.results if r.rule == "unknown client")
    assert (result.outcome, result.reason) == ("not run", "no client file of 2005-09 is loaded")


# --- the month fits ----------------------------------------------------------------------------------


def _panel(shift: int, clients: int = 150) -> pl.DataFrame:
    """A month of a panel whose statements roll; `shift` months after the first."""
    base = pl.DataFrame({"client_id": [f"c{i}" for i in range(clients)], "i": range(clients)})
    columns = [pl.col("client_id"), pl.lit(5000.0).alias("limit_bal")]
    columns += [pl.lit(1).alias(n) for n in ("sex", "education", "marriage")] + [pl.lit(30).alias("age")]
    for prefix, size, low in (("pay_", 5, -2), ("bill_amt", 900, 0), ("pay_amt", 700, 0)):
        columns += [
            ((pl.col("i") * 31 + (shift - n) * 17) % size + low).alias(f"{prefix}{n}") for n in range(1, 7)
        ]
    frame = base.select(columns)
    return frame.select(pl.col(name).cast(dtype) for name, dtype in CLIENT_SCHEMA.items())


@pytest.mark.parametrize(
    ("shift", "clients", "message"),
    [
        (1, 150, None),
        (0, 150, r"continue those of 2005-08.*sent again"),
        (3, 150, "0 \\(0.0%\\) continue"),
        (3, 90, None),
    ],
)
def test_statements_roll(check: Check, tmp_path: Path, shift: int, clients: int, message: str | None) -> None:
    previous = tmp_path / "previous.parquet"
    _panel(0, clients).write_parquet(previous)
    content = _panel(shift, clients).write_csv().encode()
    if message:
        with pytest.raises(ContentRefused, match=message):
            check(content, previous_clients=previous)
        return
    result = next(r for r in check(content, previous_clients=previous).results if "roll" in r.rule)
    assert result.outcome == ("passed" if clients >= 100 else "not run")


def test_same_bytes_of_another_month(
    rows: Rows, names: list[str], csv_bytes: Callable[..., bytes], check: Check
) -> None:
    content = csv_bytes([names, *rows])
    digest = check(content).sha256
    with pytest.raises(ContentRefused, match=r"same bytes as the clients file of 2005-08"):
        check(content, loaded={digest: ("clients", Month(2005, 8))})
    assert check(content, loaded={digest: ("clients", Month(2005, 9))}).accepted == 40


@pytest.mark.parametrize(
    ("value", "fits"),
    [("2005-09", True), ("2005-09-30", True), ("200509", True), ("2005-08", False), ("Sep", False)],
)
def test_month_column(
    rows: Rows, names: list[str], csv_bytes: Callable[..., bytes], check: Check, value: str, fits: bool
) -> None:
    content = csv_bytes([[*names, "Statement Month"], *([*row, value] for row in rows)])
    if fits:
        assert check(content).accepted == 40
        return
    with pytest.raises(ContentRefused, match=f"40 rows of another month, the first '{value}'"):
        check(content)


# --- the real data -----------------------------------------------------------------------------------


@pytest.mark.uci
def test_uci_file(uci_file: Path, tmp_path: Path) -> None:
    checked = check_file(uci_file, "clients", Month(2005, 9), tmp_path, Context())
    assert (checked.received, checked.accepted, checked.quarantined) == (30000, 30000, 0)
    assert _outcomes(checked)["defaulted"].sum() == 6636
    counts = {r.rule: r.unexpected for r in checked.results if r.severity == "info"}
    assert [counts[f"education {c}"] for c in (0, 5, 6)] == [14, 280, 51]
    assert (counts["marriage 0"], counts["identical row"]) == (54, 35)
    assert not [r for r in checked.results if r.severity != "info" and r.outcome == "failed"]
