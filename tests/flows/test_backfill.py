import polars as pl
import pytest

from creditflow.errors import FileMissing, UsageError
from creditflow.month import Month
from flows import workflows
from flows.backfill import backfill
from flows.monthly import monthly
from flows.options import run_options
from flows.settings import load_settings
from tasks import ledger, registry

pytestmark = pytest.mark.flow


def test_months_that_are_up_to_date_are_skipped_and_the_range_is_recorded(home, ask, contents):
    before = contents(home)
    (home.published).unlink()
    done = backfill("2026-03", "2026-04", "a lost publication")
    assert done.outcomes == {"2026-03": "done", "2026-04": "unchanged"}
    assert [line[:7] for line in done.lines] == ["2026-03", "2026-04"]
    after = contents(home)
    for name, frame in before.items():
        assert frame.equals(after[name]), name
    recorded = ask(home, "SELECT first_month, last_month, reason, result, requested_by != '' FROM backfills")
    assert recorded == [("2026-03", "2026-04", "a lost publication", done.summary, True)]
    assert done.summary.startswith("2 months: 1 done, 1 unchanged, 0 failed; ")
    kept = ask(home, "SELECT month, outcome, message != '', seconds > 0 FROM backfill_months ORDER BY month")
    assert kept == [("2026-03", "done", True, True), ("2026-04", "unchanged", True, True)]
    assert ask(home, "SELECT count(*) FROM runs WHERE backfill_id IS NOT NULL") == [(1,)]
    assert done.lines[1].startswith("2026-04: nothing to do; files, model and code are those of the run of 2")


def test_first_month_that_fails_stops_it_and_is_named(home, ask):
    with pytest.raises(FileMissing, match="clients_2026-05"):
        backfill("2026-04", "2026-06", "too far")
    (result,) = ask(home, "SELECT result FROM backfills")[0]
    assert result.startswith("stopped at 2026-05 after 1 of 3 months")
    kept = ask(home, "SELECT month, outcome FROM backfill_months ORDER BY month")
    assert kept == [("2026-04", "unchanged"), ("2026-05", "failed")]


def test_range_that_is_all_done_needs_no_prefect(home, monkeypatch, capsys):
    monkeypatch.setattr("flows.backfill.backfill", None)
    settings = load_settings()
    workflows.run_range(settings, *map(workflows.Month.parse, ("2026-01", "2026-04")), "again")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all("nothing to do" in line for line in lines)


@pytest.mark.slow
def test_range_that_failed_goes_on_where_it_stopped(home, ask):
    aside = (home.inbox / "clients_2026-04.csv").rename(home.root / "aside.csv")
    home.month_page(Month.parse("2026-03")).unlink()
    home.month_page(Month.parse("2026-04")).unlink()
    with pytest.raises(FileMissing, match="clients_2026-04"):
        backfill("2026-02", "2026-04", "the first try")
    aside.rename(home.inbox / "clients_2026-04.csv")
    runs = "SELECT month FROM runs WHERE backfill_id IS NOT NULL ORDER BY started_at"
    assert ask(home, runs) == [("2026-03",)]
    done = backfill("2026-02", "2026-04", "the second try")
    assert done.outcomes == {"2026-02": "unchanged", "2026-03": "unchanged", "2026-04": "done"}
    assert ask(home, runs) == [("2026-03",), ("2026-04",)]


def test_range_as_of_then_learns_no_outcome_before_its_time(fresh, ask):
    """All files lie there from the start, as they do when years are run at once."""
    backfill("2026-01", "2026-01", "at once")
    assert ask(fresh, "SELECT count(*) FROM outcomes") == [(0,)]
    assert ask(fresh, "SELECT verdict FROM decisions") == [("wait",)]


def test_months_done_before_the_one_that_fails_are_said(home, capsys):
    with pytest.raises(FileMissing):
        workflows.run_range(load_settings(), *map(workflows.Month.parse, ("2026-03", "2026-05")), "too far")
    assert [line[:7] for line in capsys.readouterr().out.splitlines()] == ["2026-03", "2026-04"]


def test_backward_range_is_refused(home):
    with pytest.raises(UsageError):
        backfill("2026-04", "2026-03", "backward")


def test_force_runs_what_is_up_to_date(home, contents):
    before = contents(home)
    assert backfill("2026-04", "2026-04", "again", force=True).outcomes == {"2026-04": "done"}
    for name, frame in contents(home).items():
        assert frame.equals(before[name]), name


def test_backfill_that_a_kill_left_open_is_swept_by_the_next(home, ask):
    ledger.open_backfill(home, "2026-01", "2026-02", "killed")
    backfill("2026-04", "2026-04", "the next")
    found = ask(home, "SELECT reason, result FROM backfills ORDER BY started_at")
    assert found[0] == ("killed", "the process ended without a word; found at the next start")
    assert found[1][0] == "the next"


@pytest.mark.slow
def test_scoring_as_of_now_decides_nothing_and_a_plain_run_brings_the_view_of_then_back(home, ask, contents):
    before = contents(home)
    ((then, version),) = ask(
        home, "SELECT DISTINCT model, version FROM scores WHERE month = '2026-03' AND is_champion"
    )
    today = "logistic" if then != "logistic" else "gradient_boosting"
    wish = registry.Wish("a test", "a tester", run_options(load_settings()))
    registry.promote(home, f"{today}@{version}", wish, Month.parse("2026-04"))
    decided = ask(home, "FROM decisions ORDER BY month"), ask(home, "FROM promotions ORDER BY ALL")
    backfill("2026-03", "2026-03", "a look back", as_of="now")
    assert decided == (ask(home, "FROM decisions ORDER BY month"), ask(home, "FROM promotions ORDER BY ALL"))
    scored = "SELECT DISTINCT model, version, basis FROM scores WHERE month = '2026-03' AND is_champion"
    assert ask(home, scored) == [(today, version, "retrospective")]
    page = (home.reports / "2026-03" / "index.html").read_text()
    assert f"Scored as of now by {today} {version}, not by the champion of then, {then} {version}" in page
    assert ask(home, "SELECT as_of FROM backfills") == [("now",)]
    monthly("2026-03")
    month = pl.col("month") == "2026-03"
    assert contents(home)["scores"].filter(month).equals(before["scores"].filter(month))
