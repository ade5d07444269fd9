import pytest

from creditflow.errors import FileMissing, UsageError
from flows import workflows
from flows.backfill import backfill
from flows.settings import load_settings

pytestmark = pytest.mark.flow


def test_months_that_are_up_to_date_are_skipped_and_the_range_is_recorded(home, ask, contents):
    before = contents(home)
    (home.published).unlink()
    lines = backfill("2026-03", "2026-04", "a lost publication")
    assert [line[:7] for line in lines] == ["2026-03", "2026-04"]
    after = contents(home)
    for name, frame in before.items():
        assert frame.equals(after[name]), name
    recorded = ask(home, "SELECT first_month, last_month, reason, result, requested_by != '' FROM backfills")
    assert recorded == [("2026-03", "2026-04", "a lost publication", "2 months done", True)]
    assert ask(home, "SELECT count(*) FROM runs WHERE backfill_id IS NOT NULL") == [(1,)]
    assert lines[1] == "2026-04: nothing to do; file, model and code are unchanged"


def test_first_month_that_fails_stops_it_and_is_named(home, ask):
    with pytest.raises(FileMissing, match="clients_2026-05"):
        backfill("2026-04", "2026-06", "too far")
    (result,) = ask(home, "SELECT result FROM backfills")[0]
    assert result.startswith("stopped at 2026-05 after 1 of 3 months")


def test_range_that_is_all_done_needs_no_prefect(home, monkeypatch, capsys):
    monkeypatch.setattr("flows.backfill.backfill", None)
    settings = load_settings()
    workflows.run_range(settings, *map(workflows.Month.parse, ("2026-01", "2026-04")), "again")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all("nothing to do" in line for line in lines)


def test_months_done_before_the_one_that_fails_are_said(home, capsys):
    with pytest.raises(FileMissing):
        workflows.run_range(load_settings(), *map(workflows.Month.parse, ("2026-03", "2026-05")), "too far")
    assert [line[:7] for line in capsys.readouterr().out.splitlines()] == ["2026-03", "2026-04"]


def test_backward_range_is_refused(home):
    with pytest.raises(UsageError):
        backfill("2026-04", "2026-03", "backward")
