"""What analysts may ask and what they get: one SELECT, nothing but the database, bounded memory."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from creditflow.errors import HomeUnusable, QueryFailed, UsageError
from sql.analyst import answer, batches, first_rows, in_one_line, open_for_analysts, write_parquet
from sql.publish import publish
from sql.warehouse import open_warehouse


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    with open_warehouse(folder / "w.duckdb") as con:
        return publish(con, folder / "p.duckdb")


@pytest.fixture(scope="module")
def con(published):
    with open_for_analysts(published) as opened:
        yield opened


def ask(con, text, form="table"):
    return pl.concat(batches(answer(con, text, form), text))


def first(con, text, most=3):
    return first_rows(answer(con, text), text, most)


# ── Refusals ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("SELEC 1", r'syntax error at or near "SELEC" \(line 1, position 1\)'),
        ("SELECT *\nFROM nowhere", r"nowhere does not exist.*\(line 2, position 6\)"),
        ("SELECT 'é',\n  nope FROM runs", r'"nope" not found.*\(line 2, position 3\)'),
        ("SELECT ('x' || i)::INT FROM range(9) AS r (i)", r"Could not convert.*\(line 1, position 18\)"),
        ("SELECT error('boom') FROM range(3)", "boom"),
        ("", "no statement"),
        ("-- nothing", "no statement"),
        ("SELECT 1; SELECT 2", "SELECT and SELECT"),
        ("SELECT 1; DROP TABLE runs", "SELECT and DROP"),
        ("DROP TABLE runs", "DROP"),
        ("CREATE TEMP TABLE t (n INTEGER)", "CREATE"),
        ("INSERT INTO runs (run_id) VALUES ('x')", "INSERT"),
        ("ATTACH ':memory:' AS m", "ATTACH"),
        ("SET memory_limit = '1GB'", "SET"),
        ("INSTALL httpfs", "LOAD"),
        ("COPY (SELECT 1) TO '{folder}/out.csv'", "COPY"),
        ("EXPORT DATABASE '{folder}/out'", "EXPORT"),
        ("SELECT * FROM read_csv('/etc/passwd')", "Cannot access file"),
        ("SELECT * FROM read_text('{folder}/secret.txt')", "Cannot access file"),
        ("SELECT * FROM '{folder}/secret.csv'", "Cannot access file|does not exist"),
        ("SELECT * FROM glob('{folder}/*')", "Cannot access file"),
        ("SELECT * FROM parquet_metadata('{folder}/x.parquet')", "Cannot access file"),
        ("EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/out.csv'", "Cannot access file"),
        # A variable of this very test, and of the module that asks.
        ("SELECT * FROM text", "text does not exist"),
    ],
)
def test_refusal_is_one_line_and_touches_nothing(con, tmp_path, text, says):
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "secret.csv").write_text("a\n1\n")
    for way in (ask, first):
        with pytest.raises(QueryFailed, match=says) as refused:
            way(con, text.format(folder=tmp_path))
        assert "\n" not in str(refused.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["secret.csv", "secret.txt"]
    assert ask(con, "SELECT count(*) AS n FROM runs")["n"].to_list() == [0]


@pytest.mark.parametrize(
    "statement",
    [
        "SET enable_external_access = true",
        "RESET enable_external_access",
        "SET lock_configuration = false",
        "LOAD httpfs",
        "INSTALL httpfs",
        "ATTACH '{folder}/other.duckdb'",
        "COPY (SELECT 1) TO '{folder}/out.csv'",
        "PRAGMA profiling_output = '{folder}/profile'",
        "CREATE PERSISTENT SECRET s (TYPE http)",
    ],
)
def test_connection_itself_is_shut_off(con, tmp_path, statement):
    """The guard below the guard: even a statement that was let through could do nothing."""
    with pytest.raises(duckdb.Error):
        con.execute(statement.format(folder=tmp_path))
    assert con.execute("SELECT count(*) FROM runs").fetchall() == [(0,)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "text", "expected"),
    [
        ("Plain words\nin two lines", "x", "Plain words in two lines"),
        ('Binder Error: {"exception_message": "a\\nb"}', "x", "Binder Error: a b"),
        ('E: {"exception_message": "a", "position": "4"}', "a\nb\nc", "E: a (line 3, position 1)"),
        # Positions are bytes: the letter takes two of them.
        ('E: {"exception_message": "a", "position": "3"}', "é c", "E: a (line 1, position 3)"),
        ("E: {not json}", "x", "E: {not json}"),
    ],
)
def test_error_in_one_line(error, text, expected):
    assert in_one_line(error, text) == expected


def test_nothing_published_yet_is_told(tmp_path):
    with pytest.raises(HomeUnusable, match="creditflow demo"), open_for_analysts(tmp_path / "none.duckdb"):
        pass


# ── Answers ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "SHOW TABLES",
        "DESCRIBE runs",
        "FROM runs",
        "SUMMARIZE runs",
        "EXPLAIN SELECT 1",
        "VALUES (1)",
        "WITH a AS (SELECT 1) FROM a",
        "SELECT 1;",
    ],
)
def test_reading_in_any_spelling_is_answered(con, text):
    assert ask(con, text).columns


ALL_TYPES = (
    "SELECT sum(i) AS total, 1.50::DECIMAL(5, 2) AS amount, [i, 2] AS list, {'x': i} AS struct, "
    "INTERVAL 1 DAY AS step, MAP {'a': 1} AS map, 'x'::BLOB AS bytes, DATE '2005-01-02' AS day, "
    "NULL AS nothing FROM range(3) AS r (i) GROUP BY i ORDER BY i"
)


def test_csv_has_a_word_for_every_type(con):
    lines = ask(con, ALL_TYPES, "csv").write_csv().splitlines()
    assert lines[1] == "0,1.50,\"[0, 2]\",{'x': 0},1 day,{a=1},x,2005-01-02,"


def test_json_numbers_are_numbers(con):
    first = json.loads(ask(con, ALL_TYPES, "json").write_json())[0]
    assert first["total"] == 0
    assert first["amount"] == 1.5
    assert first["list"] == [0, 2]
    assert first["struct"] == {"x": 0}
    assert first["step"] == "1 day"


def test_names_that_occur_twice_are_told_apart(con):
    assert ask(con, "SELECT 1 AS a, 2 AS a_2, 3 AS a, 4 AS a").rows() == [(1, 2, 3, 4)]
    assert ask(con, "SELECT 1 AS a, 2 AS a_2, 3 AS a, 4 AS a").columns == ["a", "a_2", "a_3", "a_4"]


@pytest.mark.parametrize(("most", "rows", "more"), [(0, 0, True), (2, 2, True), (3, 3, False), (9, 3, False)])
def test_first_rows_say_whether_there_are_more(con, most, rows, more):
    found = first(con, "SELECT i AS n, i + 0.5 AS half, 'c' AS c FROM range(3) AS r (i)", most)
    assert (found.names, found.numeric, found.more) == (("n", "half", "c"), (True, True, False), more)
    assert found.rows == [(i, Decimal(i) + Decimal("0.5"), "c") for i in range(rows)]


def test_first_rows_alone_that_fail_are_told_without_a_place(con, monkeypatch):
    monkeypatch.setattr("sql.analyst.batches", lambda relation, text: iter([pl.DataFrame()]))
    with pytest.raises(QueryFailed, match=r"found Invalid Input Error: boom\. creditflow sql"):
        first(con, "SELECT error('boom') FROM range(3)")


def test_first_rows_hold_a_value_of_every_type(con):
    """Also where Python has none, or DuckDB would ask for a package that is not there."""
    found = first(
        con,
        "SELECT NULL, true, 7::UTINYINT, -(2::HUGEINT ** 100)::HUGEINT, 1.5::FLOAT, DATE '2026-01-02', "
        "DATE 'infinity', DATE '20000-01-02', TIMESTAMP '2026-01-02 03:04:05', "
        "TIMESTAMP_NS '2026-01-02 03:04:05.123456789', TIME '24:00:00', "
        "TIMESTAMPTZ '2026-01-02 03:04:05+00' = TIMESTAMPTZ '2026-01-02 04:04:05+01', TIMETZ '03:04:05+00', "
        "'101'::BIT, 12::BIGNUM, INTERVAL 2 DAY, [1, NULL], {'a': 1}, 'é[bold]', 'x'::BLOB",
    )
    (values,) = found.rows
    assert values[:5] == (None, True, 7, -(2**100), 1.5)
    assert values[5:9] == ("2026-01-02", "infinity", "20000-01-02", "2026-01-02 03:04:05")
    assert values[9:13] == ("2026-01-02 03:04:05.123456789", "24:00:00", True, "03:04:05+00")
    assert values[13:] == ("101", "12", "2 days", "[1, NULL]", "{'a': 1}", "é[bold]", "x")
    assert [place for place, is_number in enumerate(found.numeric) if is_number] == [2, 3, 4]
    ((moment,),) = first(con, "SELECT TIMESTAMPTZ '2026-01-02 03:04:05+00'").rows
    assert datetime.fromisoformat(moment) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_order_and_rows_survive_the_batches(con):
    text = "SELECT i, repeat('x', i % 7) AS t FROM range(200_001) AS r (i) ORDER BY -i"
    frames = list(batches(answer(con, text), text))
    assert len(frames) > 3
    assert pl.concat(frames)["i"].to_list() == list(range(200_000, -1, -1))


def test_answer_without_rows_keeps_its_columns(con):
    empty = ask(con, "SELECT run_id, pid FROM runs")
    assert empty.schema == {"run_id": pl.String, "pid": pl.Int64}


# ── Parquet ─────────────────────────────────────────────────────────────────────────────────────

NUMBERS = "SELECT i, 'é' || i AS t, [i] AS l FROM range(120_000) AS r (i)"


def test_parquet_holds_the_answer(con, tmp_path):
    target = tmp_path / "answer.parquet"
    assert write_parquet(answer(con, NUMBERS, "parquet"), NUMBERS, target, overwrite=False) == 120_000
    assert_frame_equal(pl.read_parquet(target), ask(con, NUMBERS, "parquet"))
    assert list(tmp_path.iterdir()) == [target]


def test_interval_goes_to_parquet_as_text(con, tmp_path):
    text = "SELECT INTERVAL 1 DAY AS step"
    write_parquet(answer(con, text, "parquet"), text, tmp_path / "a.parquet", overwrite=False)
    assert pl.read_parquet(tmp_path / "a.parquet")["step"].to_list() in (["1 day"], [timedelta(days=1)])


def test_existing_file_is_replaced_only_where_asked(con, tmp_path):
    target = tmp_path / "answer.parquet"
    target.write_text("kept")
    with pytest.raises(UsageError, match="--overwrite"):
        write_parquet(answer(con, NUMBERS, "parquet"), NUMBERS, target, overwrite=False)
    assert target.read_text() == "kept"
    write_parquet(answer(con, NUMBERS, "parquet"), NUMBERS, target, overwrite=True)
    assert pl.read_parquet(target).height == 120_000


@pytest.mark.parametrize(("name", "found"), [("", "a folder"), ("no/such/a.parquet", "none")])
def test_target_that_cannot_be_is_refused(con, tmp_path, name, found):
    with pytest.raises(UsageError, match=f"found {found}"):
        write_parquet(answer(con, NUMBERS, "parquet"), NUMBERS, tmp_path / name, overwrite=True)


def test_query_that_fails_on_its_way_leaves_the_earlier_file(con, tmp_path):
    target = tmp_path / "answer.parquet"
    target.write_text("kept")
    text = "SELECT if(i = 190_000, error('boom'), i) AS n FROM range(200_000) AS r (i)"
    with pytest.raises(QueryFailed, match="boom"):
        write_parquet(answer(con, text, "parquet"), text, target, overwrite=True)
    assert target.read_text() == "kept"
    assert list(tmp_path.iterdir()) == [target]


def test_what_another_process_is_writing_stays(con, tmp_path):
    target, other = tmp_path / "answer.parquet", tmp_path / ".answer.parquet.1.new"
    other.write_text("half of an answer")
    write_parquet(answer(con, NUMBERS, "parquet"), NUMBERS, target, overwrite=False)
    assert other.read_text() == "half of an answer"
    assert sorted(tmp_path.iterdir()) == [other, target]


def test_ten_million_rows_go_to_parquet_in_half_a_gigabyte(published, tmp_path):
    """Read from its own status: what the system counts for a child holds its parent's memory as well."""
    code = (
        "import sys; from pathlib import Path; from sql.analyst import *\n"
        "text = \"SELECT i, random() AS a, random() AS b, 'C' || i AS c FROM range(10_000_000) AS r (i)\"\n"
        "with open_for_analysts(Path(sys.argv[1])) as con:\n"
        "    print(write_parquet(answer(con, text, 'parquet'), text, Path(sys.argv[2]), overwrite=False))\n"
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    command = [sys.executable, "-c", code, str(published), str(tmp_path / "big.parquet")]
    rows, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(rows) == 10_000_000
    assert int(peak) < 500 * 1024
