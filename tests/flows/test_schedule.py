import html
import os
import re
import time

import pytest

from creditflow.errors import CreditflowError, HomeLocked
from creditflow.month import Month
from flows import schedule
from flows.artifacts import in_markdown, record_artifacts
from flows.settings import load_settings

pytestmark = pytest.mark.flow

MONTHS = ["2026-01", "2026-02", "2026-03", "2026-04"]


@pytest.fixture
def only(fresh):
    """Leaves only client files of the given months in the inbox; without outcomes no model is developed."""

    def keep(*months):
        for month in set(MONTHS) - set(months):
            (fresh.inbox / f"clients_{month}.csv").unlink()
        for path in fresh.inbox.glob("outcomes_*"):
            path.unlink()
        return fresh

    return keep


def broken(home, month):
    (home.inbox / f"clients_{month}.csv").write_text("nothing of use\n")


def runs(ask, home):
    return ask(home, "SELECT month, status FROM runs ORDER BY started_at")


# ── The flow ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_every_month_that_has_come_is_run_oldest_first_up_to_the_one_asked_for(only, ask):
    home = only(*MONTHS)
    lines = schedule.scheduled("2026-02")
    assert [line.split(":")[0] for line in lines] == ["2026-01", "2026-02"]
    assert runs(ask, home) == [("2026-01", "done"), ("2026-02", "done")]
    assert ask(home, "SELECT DISTINCT command FROM runs") == [("schedule",)]
    again = schedule.scheduled("2026-02")
    assert again == ["2026-02: nothing to do; every month that has come is up to date"]
    assert len(runs(ask, home)) == 2


def test_month_that_fails_does_not_hold_up_the_later_ones(only, ask):
    home = only("2026-01", "2026-02", "2026-03")
    broken(home, "2026-01")
    broken(home, "2026-02")
    with pytest.raises(
        CreditflowError, match=r"the months 2026-01, 2026-02: .*clients_2026-01.*clients_2026-02"
    ):
        schedule.scheduled("2026-03")
    assert runs(ask, home) == [("2026-01", "refused"), ("2026-02", "refused"), ("2026-03", "done")]


def test_error_of_one_month_is_raised_as_it_is(only):
    broken(only("2026-01"), "2026-01")
    with pytest.raises(CreditflowError, match=r"clients_2026-01\.csv") as caught:
        schedule.scheduled("2026-01")
    assert "\n" not in str(caught.value)


def test_month_that_has_not_come_is_said_and_is_an_alert(finished_to_april, ask, monkeypatch):
    monkeypatch.setattr(schedule, "datetime", at("2026-06-10T00:00+00:00"))
    lines = schedule.scheduled()
    assert lines == ["2026-05: clients_2026-05 has not come; it was expected by 2026-06-05 06:00 UTC"]
    raised = "SELECT month, severity, state FROM alerts WHERE rule = 'overdue_file' AND run_id LIKE 'look-%'"
    assert [row[::2] for row in ask(finished_to_april, raised)] == [("2026-05", "raised")]


def test_run_is_named_for_the_month_that_the_clock_asks_for(monkeypatch):
    monkeypatch.setattr(schedule, "datetime", at("2026-06-05T06:00+00:00"))
    assert schedule._run_name() == "scheduled-2026-05"
    monkeypatch.setattr(schedule, "datetime", at("2026-06-05T04:00+00:00"))
    assert schedule._run_name() == "scheduled-2026-04"


@pytest.mark.parametrize(("failures", "done"), [(0, True), (2, True), (9, False)])
def test_home_that_is_held_is_tried_again(monkeypatch, failures, done):
    monkeypatch.setenv("CREDITFLOW_STAGE_RETRIES", "2")
    left, slept = [HomeLocked("h", expected="e", found="f", remedy="r")] * failures, []

    def act():
        if left:
            raise left.pop()
        return "done"

    if done:
        assert schedule._patiently(act, load_settings(), slept.append) == "done"
    else:
        with pytest.raises(HomeLocked):
            schedule._patiently(act, load_settings(), slept.append)
    assert slept == [5, 10][: min(failures, 2)]


@pytest.fixture
def finished_to_april(home):
    """All four months done."""
    return home


def at(text):
    from datetime import datetime

    class Frozen(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.fromisoformat(text).astimezone(tz)

    return Frozen


# ── A file that is still being written ──────────────────────────────────────────────────────────


def test_file_that_is_still_written_is_waited_for_by_the_stage(only, monkeypatch, ask):
    """The load stage is tried again until the file rests, and then takes all of it."""
    import threading

    home = only("2026-01")
    path = home.inbox / "clients_2026-01.csv"
    whole = path.read_text().splitlines(keepends=True)
    path.write_text("".join(whole[:10]))
    monkeypatch.setenv("CREDITFLOW_FILE_SETTLE_SECONDS", "0.3")
    monkeypatch.setenv("CREDITFLOW_STAGE_RETRY_SECONDS", "0.2")
    monkeypatch.setenv("CREDITFLOW_STAGE_RETRIES", "5")

    def write():
        for start in range(10, len(whole), 30):
            with path.open("a") as stream:
                stream.writelines(whole[start : start + 30])
            time.sleep(0.1)

    writer = threading.Thread(target=write)
    writer.start()
    schedule.scheduled("2026-01")
    writer.join()
    assert ask(home, "SELECT received FROM files") == [(len(whole) - 1,)]


# ── Artifacts ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def made(home):
    """The artifacts of April, made in a flow run, and what that took in seconds."""
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterId

    @flow
    def outer():
        started = time.perf_counter()
        found = record_artifacts(home, Month(2026, 4), "700 received; <b>why</b> [x](http://evil)", None)
        return found, time.perf_counter() - started

    identities, seconds = outer()
    # By their identity: the server gives a page of two hundred, and other tests have made some.
    wanted = ArtifactFilter(id=ArtifactFilterId(any_=list(identities)))
    with get_client(sync_client=True) as client:
        kept = {artifact.id: artifact for artifact in client.read_artifacts(artifact_filter=wanted)}
    return [kept[identity] for identity in identities], seconds


def test_artifacts_say_the_month_and_cost_little(made, home, ask):
    artifacts, seconds = made
    assert [(a.key, a.type) for a in artifacts] == [
        ("summary-2026-04", "markdown"),
        ("scores-2026-04", "table"),
        ("pack-2026-04", "markdown"),
    ]
    assert all(a.flow_run_id for a in artifacts)
    assert (home.month_page(Month(2026, 4))).as_uri() in artifacts[2].data
    # A third of a second is allowed on a quiet machine.
    assert seconds < 3, seconds


def test_table_holds_every_client_by_grade(made, home, ask):
    import json

    rows = json.loads(made[0][1].data)
    counted = ask(home, "SELECT count(*) FROM scores WHERE month = '2026-04' AND is_champion")[0][0]
    assert sum(row["clients"] for row in rows) == counted > 0
    assert [row["grade"] for row in rows] == sorted(row["grade"] for row in rows)


def test_text_is_escaped(made):
    summary = made[0][0].data
    assert "<b>" not in summary
    assert "[x](" not in summary
    assert html.unescape(re.sub(r"\\(.)", r"\1", summary)).count("<b>why</b> [x](http://evil)") == 1


@pytest.mark.parametrize("text", ["# a", "a\nb", "`rm`", "<script>", "*x*", "[a](b)"])
def test_nothing_of_a_text_is_markup(text):
    escaped = in_markdown(text)
    assert "\n" not in escaped
    assert not re.search(r"(?<!\\)[`*#\[\]()<]", escaped)


def test_there_are_none_outside_a_flow_run(home):
    assert record_artifacts(home, Month(2026, 4), "a run by hand") == []


def test_link_leads_to_the_web_server_where_one_is_named(home):
    from flows.artifacts import _link

    assert _link(home, Month(2026, 4), "https://reports.bank.example/credit/") == (
        "https://reports.bank.example/credit/2026-04/index.html"
    )
    assert os.path.basename(_link(home, Month(2026, 4), None)) == "index.html"
