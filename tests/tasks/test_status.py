import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from creditflow.errors import FileAmbiguous, HomeLocked, WarehouseNewer
from creditflow.month import Month
from sql.publish import publish
from sql.warehouse import execute, open_warehouse
from tasks.home import Home, locked
from tasks.options import Options
from tasks.status import MonthStatus, look, waiting_files, who_works

NOW = datetime(2005, 7, 1, tzinfo=UTC)
CLOCK = SimpleNamespace(schedule_day=5, schedule_hour=6, schedule_timezone="UTC", schedule_lag_months=1)
DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "status.md"
AT = "TIMESTAMP '2005-06-01 06:00:00'"


def insert(con, table, **values):
    names = ", ".join(f"${name} AS {name}" for name in values)
    con.execute(f"INSERT INTO {table} BY NAME SELECT {names}", values)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def stale(monkeypatch):
    """What the plan says is stale; tests fill it."""
    found = {}
    monkeypatch.setitem(
        sys.modules, "tasks.plan", SimpleNamespace(stale_months=lambda home, options: dict(found))
    )
    return found


@pytest.fixture
def filled(home, stale):
    """2005-04 is scored and realised, 2005-05 scored, 2005-06 was refused."""
    home.prepare()
    with open_warehouse(home.warehouse) as con:
        for month, revision in (("2005-04", 2), ("2005-05", 1)):
            add_file(con, month, revision)
            add_champion(con, month)
        con.execute(
            "INSERT INTO outcomes SELECT '2005-04', client, defaulted, 'outcomes', 's' "
            "FROM (VALUES ('a', 1), ('b', 0)) AS known (client, defaulted)"
        )
        add_performance(con, "2005-04", "held_out", "roc_auc", 0.99)
        for month in ("2005-04", "2005-05"):
            add_performance(con, month, "estimated", "roc_auc", 0.76)
            add_performance(con, month, "estimated", "roc_auc_sd", 0.01)
        add_performance(con, "2005-04", "realised", "roc_auc", 0.74)
        add_performance(con, "2005-04", "realised", "roc_auc", 0.5, model="challenger")
        con.execute(
            "INSERT INTO drift VALUES ('2005-05', 'score', 'psi', 0.02, 'stable', 9, 9, 'm', 'v', NULL)"
        )
        con.execute("INSERT INTO drift VALUES ('2005-05', 'age', 'csi', 0.9, 'big', 9, 9, 'm', 'v', NULL)")
        add_run(con, "2005-04", "r1", "failed", "2005-05-01")
        add_run(con, "2005-04", "r2", "done", "2005-05-02")
        add_run(con, "2005-05", "r3", "done", "2005-06-01")
        add_run(con, "2005-06", "r4", "refused", "2005-06-30")
    return home


def add_file(con, month, revision=1):
    for number in range(1, revision + 1):
        insert(
            con,
            "files",
            month=month,
            kind="clients",
            file_sha256=f"{month}-{number}",
            file_name=f"clients_{month}.csv",
            bytes=9,
            revision=number,
            is_current=number == revision,
            has_label=False,
            received=3,
            accepted=2,
            quarantined=1,
            code_version="c",
            run_id=f"load-{month}-{number}",
            loaded_at=datetime(2005, 6, number),
        )


def add_champion(con, month):
    for model, champion in (("m", True), ("challenger", False)):
        for client in "ab":
            con.execute(
                "INSERT INTO score_rows BY NAME SELECT ? AS month, ? AS client_id, ? AS model, "
                "? AS is_champion, 0.1 AS score, 0.1 AS pd",
                [month, client, model, champion],
            )
    con.execute(f"INSERT INTO scorings VALUES (?, 'm', 'v', 'live', 'scoring', 's', 'c', {AT})", [month])


def add_performance(con, month, sample, metric, value, model="m"):
    con.execute(
        "INSERT INTO performance VALUES (?, ?, 'v', ?, 'live', ?, ?, 2, NULL, NULL)",
        [month, model, sample, metric, value],
    )


def add_run(con, month, run_id, status, day):
    insert(
        con,
        "runs",
        run_id=run_id,
        month=month,
        command="run",
        status=status,
        started_at=datetime.fromisoformat(day),
        ended_at=datetime.fromisoformat(day),
        code_version="c",
        message=f"message of {run_id}",
        pid=1,
    )


def add_alert(con, run_id, position, severity, state, at):
    values = {"run_id": run_id, "position": position, "severity": severity, "state": state}
    texts = dict.fromkeys(("rule", "message", "remedy"), "said")
    insert(con, "alerts", month="2005-05", evaluated_at=datetime.fromisoformat(at), **values, **texts)


def seen(home, now=NOW):
    found = look(home, Options(), CLOCK, now)
    return found, {month.month: month for month in found.months}


# ── What is told of a month ─────────────────────────────────────────────────────────────────────


def test_every_figure_is_the_champions_and_the_newest(filled):
    found, months = seen(filled)
    assert (found.source, found.problem, found.not_looked_at) == ("warehouse", None, None)
    assert list(months) == ["2005-06", "2005-05", "2005-04"]
    april = months["2005-04"]
    assert (april.file, april.revision, april.file_sha256) == ("clients_2005-04.csv", 2, "2005-04-2")
    assert (april.received, april.accepted, april.quarantined) == (3, 2, 1)
    assert (april.model, april.version, april.basis, april.scored) == ("m", "v", "live", 2)
    assert (april.outcomes, april.defaulters) == (2, 1)
    assert (april.auc_estimated, april.auc_estimated_sd, april.auc_realised) == (0.76, 0.01, 0.74)
    assert (april.run_id, april.run_status) == ("r2", "done")
    may = months["2005-05"]
    assert (may.outcomes, may.auc_estimated, may.auc_realised) == (None, 0.76, None)
    assert (may.psi, may.psi_band) == (0.02, "stable")


def test_month_that_was_only_refused_has_its_run_and_nothing_else(filled):
    june = seen(filled)[1]["2005-06"]
    assert (june.run_status, june.run_message) == ("refused", "message of r4")
    assert (june.file, june.model, june.scored, june.report, june.stale) == (None, None, None, "none", None)


def test_report_is_built_due_or_none(filled):
    assert {m.report for m in seen(filled)[1].values()} == {"due", "none"}
    for month in ("2005-04", "2005-05"):
        page = filled.month_page(Month.parse(month))
        page.parent.mkdir(parents=True)
        page.write_text("page")
    with open_warehouse(filled.warehouse) as con:
        (made_from,) = (
            made
            for month, made in execute(con, "due_months", month="2005-06", product="report")
            if month == "2005-04"
        )
        execute(con, "record_derived", month="2005-04", product="report", made_from=made_from)
    months = seen(filled)[1]
    assert (months["2005-04"].report, months["2005-05"].report) == ("built", "due")
    assert months["2005-04"].report_built_at.tzinfo is UTC
    with open_warehouse(filled.warehouse) as con:
        con.execute("UPDATE files SET run_id = 'another load' WHERE month = '2005-04'")
    assert seen(filled)[1]["2005-04"].report == "due"


def test_alerts_are_those_of_the_newest_evaluation(filled):
    with open_warehouse(filled.warehouse) as con:
        for at in ("2005-06-01", "2005-06-02"):
            add_alert(con, f"run {at}", 1, "critical", "raised" if at == "2005-06-01" else "clear", at)
            add_alert(con, f"run {at}", 2, "warning", "raised", at)
            add_alert(con, f"run {at}", 3, "warning", "raised", at)
            add_alert(con, f"run {at}", 4, "info", "not run", at)
    months = seen(filled)[1]
    may = months["2005-05"]
    assert (may.alerts_critical, may.alerts_warning, may.alerts_info) == (0, 2, 0)
    assert months["2005-04"].alerts_critical is None


def test_stale_months_carry_their_reason_and_months_without_a_result_are_neither(filled, stale):
    stale[Month(2005, 4)] = "its file changed"
    months = seen(filled)[1]
    assert {m.month: (m.stale, m.stale_reason) for m in months.values()} == {
        "2005-04": (True, "its file changed"),
        "2005-05": (False, None),
        "2005-06": (None, None),
    }


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (HomeLocked("h", expected="e", found="f", remedy="r"), "a run began in the meantime"),
        (FileAmbiguous("inbox", expected="one file", found="two", remedy="Remove one."), "inbox: expected"),
    ],
)
def test_table_is_shown_where_staleness_cannot_be_told(filled, monkeypatch, error, reason):
    def refuse(home, options):
        raise error

    monkeypatch.setattr(sys.modules["tasks.plan"], "stale_months", refuse)
    found, months = seen(filled)
    assert found.source == "warehouse"
    assert reason in found.not_looked_at
    assert {m.stale for m in months.values()} == {None}


# ── Homes in every state ────────────────────────────────────────────────────────────────────────


def test_empty_home_stays_empty(home):
    found, months = seen(home)
    assert (found.source, found.problem, months) == ("none", None, {})
    assert (found.waiting, found.overdue) == ((), ())
    assert not home.root.exists()


def test_home_with_a_run_at_work_is_read_from_the_published_copy(filled, stale):
    stale[Month(2005, 4)] = "must not be asked"
    with open_warehouse(filled.warehouse) as con:
        publish(con, filled.published)
        con.execute("DELETE FROM runs WHERE month = '2005-06'")
    before = filled.warehouse.stat().st_mtime_ns
    with locked(filled, "the run of 2005-07", 0):
        found, months = seen(filled)
    assert found.source == "published"
    assert "the run of 2005-07 (process" in found.problem
    assert found.not_looked_at == found.problem
    assert list(months) == ["2005-06", "2005-05", "2005-04"]
    assert {m.stale for m in months.values()} == {None}
    assert filled.warehouse.stat().st_mtime_ns == before
    assert who_works(filled) is None


def test_first_run_at_work_has_nothing_to_show_and_says_so(home, stale):
    with locked(home, "the run of 2005-04", 0):
        found, months = seen(home)
    assert (found.source, months, found.overdue) == ("none", {}, ()) or found.overdue is None
    assert "nothing has been published" in found.problem


def test_database_that_another_process_holds_is_waited_for_and_then_left(filled):
    with open_warehouse(filled.warehouse) as con:
        publish(con, filled.published)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import duckdb, sys; con = duckdb.connect(sys.argv[1]); print(1, flush=True); sys.stdin.read()",
            str(filled.warehouse),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    holder.stdout.readline()
    try:
        found, months = seen(filled)
    finally:
        holder.communicate()
    assert (found.source, found.problem) == ("published", "another process has the database open")
    assert len(months) == 3


@pytest.mark.parametrize("published", [True, False])
def test_damaged_warehouse_is_one_line_beside_what_was_published(filled, published):
    if published:
        with open_warehouse(filled.warehouse) as con:
            publish(con, filled.published)
    filled.warehouse.write_bytes(b"not a database" * 999)
    found, months = seen(filled)
    assert found.source == ("published" if published else "none")
    assert len(months) == (3 if published else 0)
    assert "expected an intact DuckDB database" in found.problem
    assert "\n" not in found.problem
    assert (found.overdue is None) == (not published)


def test_both_databases_damaged(filled):
    for path in (filled.warehouse, filled.published):
        path.write_bytes(b"not a database" * 999)
    found, months = seen(filled)
    assert (found.source, months, found.waiting) == ("none", {}, ())
    assert "cannot be read either" in found.problem


def test_home_of_a_newer_version_is_refused(filled):
    with open_warehouse(filled.warehouse) as con:
        con.execute("INSERT INTO migrations VALUES ('997_future', now()::TIMESTAMP)")
    with pytest.raises(WarehouseNewer):
        seen(filled)


# ── The inbox and the clock ─────────────────────────────────────────────────────────────────────


def test_files_that_no_run_has_read_are_named_with_the_run_that_will(home):
    home.prepare()
    for name in (
        "clients_2005-04",
        "clients_2005-05",
        "outcomes_2005-04",
        "outcomes_2005-05",
        "clients_2005-13",
    ):
        (home.inbox / f"{name}.csv").write_text("x")
    april = SimpleNamespace(month="2005-04", received=5, outcomes=None)
    waiting = waiting_files(home, [april])
    assert [file.text for file in waiting] == [
        "clients of 2005-05 are in the inbox: creditflow run 2005-05",
        "outcomes of 2005-04 are in the inbox: creditflow rebuild reads them, or the run of 2005-05",
        "outcomes of 2005-05 are in the inbox: "
        "once its clients are loaded, the run of 2005-06 or a later one reads them",
        "clients_2005-13.csv is in the inbox and is never read: name it clients_YYYY-MM or outcomes_YYYY-MM",
    ]
    assert [(file.kind, file.month) for file in waiting] == [
        ("clients", "2005-05"),
        ("outcomes", "2005-04"),
        ("outcomes", "2005-05"),
        ("misnamed", None),
    ]


@pytest.mark.parametrize(
    ("now", "present", "overdue"),
    [
        ("2005-07-05T05:59", [], []),
        ("2005-07-05T06:00", [], ["2005-06"]),
        ("2005-08-06T00:00", [], ["2005-06", "2005-07"]),
        ("2005-08-06T00:00", ["2005-06"], ["2005-07"]),
    ],
)
def test_overdue_counts_from_the_newest_loaded_month(filled, now, present, overdue):
    for month in present:
        (filled.inbox / f"clients_{month}.csv").write_text("x")
    found, _ = seen(filled, datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert [str(o.month) for o in found.overdue] == overdue


# ── The form that JSON keeps ────────────────────────────────────────────────────────────────────


def test_json_holds_every_documented_field_and_no_other(filled, stale):
    stale[Month(2005, 4)] = "its file changed"
    (filled.inbox / "clients_2005-09.csv").write_text("x")
    found = json.loads(json.dumps(seen(filled, datetime(2005, 9, 1, tzinfo=UTC))[0].as_dict()))
    documented = {
        line.split("`")[1]
        for line in DOCUMENTED.read_text("utf-8").splitlines()
        if line.startswith("| `") and not line.startswith("| `timings")
    }
    fields = {
        *found,
        *(f"months.{name}" for name in found["months"][0]),
        *(f"waiting.{name}" for name in found["waiting"][0]),
        *(f"overdue.{name}" for name in found["overdue"][0]),
    }
    assert fields == documented
    assert {f"months.{name}" for name in MonthStatus.__dataclass_fields__} <= documented
    assert found["looked_at"] == "2005-09-01T00:00:00Z"
    assert found["months"][2]["loaded_at"] == "2005-06-02T00:00:00Z"
    assert found["overdue"][0] == {"month": "2005-06", "expected_by": "2005-07-05T06:00:00Z"}


def test_three_years_of_thirty_thousand_clients_take_less_than_a_second(home, stale):
    home.prepare()
    with open_warehouse(home.warehouse) as con:
        months = [str(Month(2005, 4).plus(n)) for n in range(36)]
        for month in months:
            add_file(con, month)
            add_run(con, month, f"r-{month}", "done", "2005-06-01")
        con.execute(
            f"INSERT INTO scorings SELECT unnest($months), 'blend', 'v', 'live', 'r', 's', 'c', {AT}",
            {"months": months},
        )
        con.execute(
            "INSERT INTO score_rows BY NAME SELECT m AS month, 'c' || i AS client_id, model, "
            "model = 'blend' AS is_champion, 0.1 AS score, 0.1 AS pd FROM (SELECT unnest($months) AS m), "
            "(SELECT unnest(['blend', 'logistic', 'vae']) AS model), range(30000) AS r (i)",
            {"months": months},
        )
        con.execute(
            "INSERT INTO outcomes SELECT m, 'c' || i, i % 2, 'outcomes', 's' "
            "FROM (SELECT unnest($months) AS m), range(30000) AS r (i)",
            {"months": months},
        )
    started = time.process_time()
    found, _ = seen(home)
    assert time.process_time() - started < 2
    assert {m.scored for m in found.months} == {30_000}
