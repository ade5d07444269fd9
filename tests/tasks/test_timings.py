import json
import re
from pathlib import Path

import pytest

from creditflow.month import Month
from sql.publish import publish
from sql.warehouse import open_warehouse
from tasks.home import Home, locked
from tasks.stage import PART, START_UP
from tasks.timings import PART as SHOWN_PART
from tasks.timings import START_UP as SHOWN_START_UP
from tasks.timings import timings

STAGES = [
    ("start-up", 4.0, None, 100),
    ("load: read", 1.0, 10, 200),
    ("load: check", 0.5, 10, 300),
    ("load: check", 0.25, 10, 250),
    ("load", 2.0, 10, 300),
    ("score", 3.0, 30, 150),
    ("publish", 1.0, None, 90),
]


def add_run(con, month, run_id, status="done", stages=STAGES):
    con.execute(
        "INSERT INTO runs BY NAME SELECT $r AS run_id, $m AS month, 'run' AS command, $s AS status, "
        "TIMESTAMP '2026-05-01 06:00:00' AS started_at, "
        "CASE WHEN $s != 'running' THEN TIMESTAMP '2026-05-01 06:00:06' END AS ended_at, "
        "'c0de' AS code_version, 1 AS pid",
        {"r": run_id, "m": month, "s": status},
    )
    for stage in stages:
        con.execute("INSERT INTO stage_timings VALUES (?, ?, ?, ?, ?, ?)", [run_id, month, *stage])


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home").prepare()
    with open_warehouse(home.warehouse) as con:
        add_run(con, "2026-01", "r1")
        add_run(con, "2026-02", "r2", stages=STAGES[:1])
        add_run(con, "2026-02", "r3", "failed", STAGES[1:3])
        publish(con, home.published)
    return home


def test_words_are_those_that_stages_write():
    assert (SHOWN_PART, SHOWN_START_UP) == (PART, START_UP)


def test_newest_run_of_each_month_with_its_parts_below_their_stage(home):
    newest, first = timings(home)
    assert (newest.month, newest.run_id, newest.status) == ("2026-02", "r3", "failed")
    assert [(s.stage, s.part) for s in first.stages] == [
        ("start-up", False),
        ("load", False),
        ("load: read", True),
        ("load: check", True),
        ("score", False),
        ("publish", False),
    ]
    assert [s.stage for s in newest.stages] == ["load: read", "load: check"]


def test_what_was_gone_through_twice_is_one_row(home):
    (run,) = timings(home, Month(2026, 1))
    check = next(s for s in run.stages if s.stage == "load: check")
    assert (check.seconds, check.rows, check.peak_rss_bytes) == (0.75, 20, 300)
    assert check.rows_per_second == pytest.approx(20 / 0.75)


def test_sums_leave_parts_out_and_the_rest_is_what_the_ledger_spans_beyond_its_stages(home):
    (run,) = timings(home, Month(2026, 1))
    assert run.stages_seconds == 4 + 2 + 3 + 1
    # The ledger's six seconds hold load and score; start-up and publish lie before and after.
    assert run.other_seconds == pytest.approx(6 - 2 - 3)


@pytest.mark.parametrize("status", ["running", "killed"])
def test_rest_is_unknown_where_nobody_saw_the_end(home, status):
    with open_warehouse(home.warehouse) as con:
        add_run(con, "2026-03", "r4", status)
    (run,) = timings(home, Month(2026, 3))
    assert run.other_seconds is None


def test_run_without_a_stage_is_shown_as_such(home):
    with open_warehouse(home.warehouse) as con:
        add_run(con, "2026-03", "r4", "refused", [])
    (run,) = timings(home, Month(2026, 3))
    assert (run.stages, run.stages_seconds, run.other_seconds) == ((), 0, 6)


def test_published_copy_is_read_while_a_run_goes_on(home):
    with open_warehouse(home.warehouse) as con:
        add_run(con, "2026-03", "r4")
    with locked(home, "a run", 0):
        assert [run.month for run in timings(home)] == ["2026-02", "2026-01"]


def test_empty_home_stays_empty(tmp_path):
    home = Home(tmp_path / "nothing")
    assert timings(home) == []
    assert not home.root.exists()


def test_json_holds_it_all(home):
    (run,) = timings(home, Month(2026, 1))
    found = json.loads(json.dumps(run.as_dict()))
    assert found["stages"][1] == {
        "stage": "load",
        "part": False,
        "seconds": 2.0,
        "rows": 10,
        "peak_rss_bytes": 300,
        "rows_per_second": 5.0,
    }


def test_every_field_is_documented(home):
    text = (Path(__file__).resolve().parents[2] / "docs" / "status.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `timings\.([a-z_.]+)`", text, re.MULTILINE))
    run = timings(home, Month(2026, 1))[0].as_dict()
    assert documented == {*run, *(f"stages.{name}" for name in run["stages"][0])}
