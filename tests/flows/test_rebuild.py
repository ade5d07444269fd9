import hashlib
import shutil
import subprocess
import sys

import polars as pl
import pytest

from creditflow.errors import BackfillIncomplete, FileMissing
from creditflow.month import Month, month_range
from flows import workflows
from flows.backfill import backfill, rebuild
from flows.monthly import monthly
from flows.options import run_options
from flows.settings import load_settings
from tasks.plan import plan, stale_months

pytestmark = pytest.mark.flow

M = Month.parse


def stale(home):
    return stale_months(home, run_options(load_settings()))


def shorten(path):
    """The file as it would be sent again without its last client."""
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def correct(path):
    """The outcomes with every tenth of them turned round, as a correction would."""
    head, *rows = path.read_text().splitlines()
    cells = [row.split(",") for row in rows]
    turned = [
        f"{client},{1 - int(value)}" if number % 10 == 0 else f"{client},{value}"
        for number, (client, value) in enumerate(cells)
    ]
    path.write_text("\n".join([head, *turned]) + "\n")


def in_force(frames):
    """What holds now: superseded files, and sets that no score and no decision names, are history."""
    files = frames["files"].filter("is_current").drop("is_current", "revision")
    named = pl.concat([frames["scores"]["version"], frames["decisions"]["version"].drop_nulls()]).unique()
    current = frames | {"files": files}
    for column, known, tables in (
        ("file_sha256", files["file_sha256"], ("expectation_results", "quarantine")),
        ("version", named, ("models", "performance")),
    ):
        for table in tables:
            current[table] = frames[table].filter(pl.col(column).is_in(known.implode()))
    return current


def sums(home):
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in home.root.rglob("*")
        if path.is_file()
    }


# ── What is stale ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_month_that_was_run_before_its_revised_predecessor_was_loaded_is_stale(home):
    shorten(home.inbox / "clients_2026-02.csv")
    monthly("2026-04")
    assert M("2026-02") in stale(home)
    monthly("2026-02")
    assert {M("2026-03"), M("2026-04")} <= set(stale(home))


def test_files_taken_out_of_the_inbox_change_nothing_and_are_missed_when_needed(home, monkeypatch):
    for path in home.inbox.iterdir():
        path.unlink()
    assert stale(home) == {}
    done = backfill("2026-01", "2026-04", "the inbox was emptied")
    assert set(done.outcomes.values()) == {"unchanged"}
    monkeypatch.setenv("CREDITFLOW_SEED", "43")
    with pytest.raises(FileMissing, match="clients_2026-01"):
        rebuild("another seed")


def test_late_outcomes_of_the_newest_month_are_taken_in(home, ask):
    clients = (home.inbox / "clients_2026-04.csv").read_text().splitlines()[1:]
    head = (home.inbox / "outcomes_2026-03.csv").read_text().splitlines()[0]
    rows = [f"{row.split(',')[0]},{int(number % 5 == 0)}" for number, row in enumerate(clients)]
    (home.inbox / "outcomes_2026-04.csv").write_text("\n".join([head, *rows]) + "\n")
    rebuild("late outcomes")
    known = "SELECT count(*) > 0 FROM performance WHERE month = '2026-04' AND sample = 'realised'"
    assert ask(home, known) == [(True,)]
    assert stale(home) == {}


# ── What a rebuild does ─────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_revised_file_is_made_good_with_what_follows_from_it(home):
    shorten(home.inbox / "clients_2026-02.csv")
    assert rebuild("a revised file").months("failed") == []
    assert stale(home) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change", "stale_before"),
    [
        ("clients_2026-01.csv", shorten, {"2026-01": "its client file has other content"}),
        pytest.param(
            "outcomes_2026-01.csv",
            correct,
            dict.fromkeys(
                ("2026-02", "2026-03", "2026-04"),
                "outcomes of 2026-01 were revised; outcomes of 2026-01 wait to be loaded",
            ),
        ),
    ],
)
def test_home_made_good_holds_what_one_run_from_the_start_holds(
    home, fresh, contents, monkeypatch, name, change, stale_before
):
    for inbox in (home.inbox, fresh.inbox):
        change(inbox / name)
    for month in month_range(M("2026-01"), M("2026-04")):
        monthly(str(month))
    there = in_force(contents(fresh))
    monkeypatch.setenv("CREDITFLOW_HOME", str(home.root))
    assert {str(month): why for month, why in stale(home).items()} == stale_before
    assert set(rebuild("a revised file").outcomes.values()) <= {"done", "unchanged"}
    here = in_force(contents(home))
    assert stale(home) == {}
    for table, frame in there.items():
        assert frame.equals(here[table]), table


@pytest.mark.slow
def test_month_scored_as_of_now_is_scored_so_again(home, ask):
    backfill("2026-04", "2026-04", "as of now", as_of="now")
    shorten(home.inbox / "clients_2026-04.csv")
    rebuild("a revised file")
    newest = (
        "SELECT json_extract_string(facts, '$.as_of') FROM runs WHERE month = '2026-04' AND status = 'done' "
        "ORDER BY ended_at DESC LIMIT 1"
    )
    assert ask(home, newest) == [("now",)]
    assert stale(home) == {}


@pytest.mark.slow
def test_months_that_were_never_run_are_left_to_their_own_run(fresh, ask):
    monthly("2026-01")
    monthly("2026-02")
    shorten(fresh.inbox / "clients_2026-02.csv")
    rebuild("a revised file")
    assert ask(fresh, "SELECT DISTINCT month FROM runs ORDER BY 1") == [("2026-01",), ("2026-02",)]


@pytest.mark.slow
def test_plain_run_after_one_as_of_now_gives_the_basis_of_then(fresh, ask):
    for month in ("2026-01", "2026-02", "2026-03"):
        monthly(month)
    bases = "SELECT DISTINCT basis FROM scores WHERE month = '2026-04'"
    backfill("2026-04", "2026-04", "as of now", as_of="now")
    assert ask(fresh, bases) == [("retrospective",)]
    assert ask(fresh, "SELECT count(*) FROM decisions WHERE month = '2026-04'") == [(0,)]
    monthly("2026-04")
    assert ask(fresh, bases) == [("live",)]


# ── What only looks ─────────────────────────────────────────────────────────────────────────────


def test_plan_of_a_finished_range_skips_all_and_changes_no_byte(home):
    before = sums(home)
    months = list(month_range(M("2026-01"), M("2026-04")))
    assert {step.action for step in plan(home, months, run_options(load_settings()))} == {"skip"}
    assert sums(home) == before


def test_nothing_stale_is_said_and_nothing_is_written(home, monkeypatch, capsys):
    monkeypatch.setattr("flows.backfill.rebuild", None)
    before = sums(home)
    assert workflows.rebuild(load_settings(), "a look") == []
    assert capsys.readouterr().out == "nothing is stale\n"
    assert sums(home) == before


def test_dry_runs_say_what_is_due_and_change_no_byte(home, capsys):
    shorten(home.inbox / "clients_2026-03.csv")
    shutil.copy(home.inbox / "outcomes_2026-03.csv", home.inbox / "outcomes_2026-04.csv")
    before = sums(home)
    workflows.plan_rebuild(load_settings())
    said = capsys.readouterr().out
    assert "its client file has other content" in said
    assert "outcomes of 2026-04 are to be loaded" in said
    workflows.plan_range(load_settings(), M("2026-02"), M("2026-04"))
    said = capsys.readouterr().out
    rows = [line.split() for line in said.splitlines() if line.strip().startswith("2026")]
    assert [row[:2] for row in rows] == [["2026-02", "skip"], ["2026-03", "run"], ["2026-04", "perhaps"]]
    assert sums(home) == before


def test_dry_run_leaves_what_a_kill_left_in_the_log(home):
    killed = (
        "import duckdb, os, sys; con = duckdb.connect(sys.argv[1]); "
        "con.execute('PRAGMA disable_checkpoint_on_shutdown'); "
        'con.execute("UPDATE runs SET pid = 1"); os._exit(9)'
    )
    subprocess.run([sys.executable, "-c", killed, str(home.warehouse)], check=False)
    before = sums(home)
    assert any(name.endswith(".wal") for name in before)
    looked = [sys.executable, "-m", "flows.cli", "backfill", "2026-01", "2026-04", "--dry-run"]
    assert subprocess.run(looked, check=False, capture_output=True).returncode == 0
    assert sums(home) == before


@pytest.mark.slow
def test_missing_month_in_the_middle_is_named_and_the_rest_goes_on(home, ask):
    (home.inbox / "clients_2026-02.csv").rename(home.inbox / "elsewhere.csv")
    with pytest.raises(BackfillIncomplete, match="2026-02") as failed:
        backfill("2026-01", "2026-03", "anew", force=True, keep_going=True)
    assert failed.value.exit_code == 1
    outcomes = ask(home, "SELECT month, outcome FROM backfill_months ORDER BY month")
    assert outcomes == [("2026-01", "done"), ("2026-02", "failed"), ("2026-03", "done")]
