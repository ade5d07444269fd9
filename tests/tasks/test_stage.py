import time
from dataclasses import replace
from itertools import pairwise

import pytest
from prefect import flow

from creditflow.errors import ContentRefused, FileUnsettled, HomeLocked, MemoryLimitReached
from creditflow.month import Month
from tasks import stage as module
from tasks.home import Home
from tasks.stage import START_UP, Patience, Run, record_start_up, stage, step, take_timings

pytestmark = pytest.mark.flow


def error(kind):
    return kind("file", expected="rest", found="unrest", remedy="Wait.")


@pytest.fixture
def run(tmp_path, prefect_server):
    take_timings("run")
    patience = Patience(settle_seconds=0, retries=3, retry_seconds=0.05)
    return Run("run", Month(2026, 1), Home(tmp_path), "c0de", patience=patience)


def tries(run, failures):
    """How often a stage ran whose first tries fail so, and what came of it."""
    left, moments = list(failures), []

    @stage("fragile")
    def fragile(run, word):
        moments.append(time.monotonic())
        if left:
            raise left.pop(0)
        return word

    @flow
    def outer():
        return fragile(run, "done")

    try:
        result = outer()
    except Exception as raised:
        result = raised
    return result, moments


@pytest.mark.parametrize("kind", [FileUnsettled, HomeLocked])
def test_fault_that_passes_is_tried_again_with_longer_and_longer_pauses(run, kind):
    result, moments = tries(run, [error(kind)] * 3)
    assert result == "done"
    pauses = [after - before for before, after in pairwise(moments)]
    assert all(pause >= least for pause, least in zip(pauses, (0.05, 0.1, 0.2), strict=True))
    assert [timing.stage for timing in take_timings("run")] == ["fragile"]


def test_fault_that_stays_is_raised_in_the_end(run):
    result, moments = tries(run, [error(FileUnsettled)] * 9)
    assert isinstance(result, FileUnsettled)
    assert len(moments) == 4


@pytest.mark.parametrize("fault", [error(ContentRefused), ZeroDivisionError("a bug")])
def test_nothing_else_is_tried_again(run, fault):
    result, moments = tries(run, [fault])
    assert result is fault
    assert len(moments) == 1


def test_no_retries_were_asked_for(run):
    result, moments = tries(replace(run, patience=Patience(retries=0)), [error(HomeLocked)])
    assert isinstance(result, HomeLocked)
    assert len(moments) == 1


def test_pauses_double():
    assert Patience(retries=4, retry_seconds=5).pauses == [5, 10, 20, 40]
    assert Patience(retries=0).pauses == []


# ── Timings ─────────────────────────────────────────────────────────────────────────────────────


def timed(run, body):
    """What is recorded of a stage, without Prefect, and the error that it met."""
    try:
        stage("whole")(body).fn(run)
        raised = None
    except Exception as error:
        raised = error
    return take_timings(run.run_id), raised


def test_parts_are_named_after_their_stage_and_lie_within_it(run):
    def body(run):
        for rows in (2, 3):
            with step(run, "read") as found:
                time.sleep(0.01)
                found.rows = rows

    found, _ = timed(run, body)
    assert [(t.stage, t.rows) for t in found] == [("whole: read", 2), ("whole: read", 3), ("whole", None)]
    assert found[2].seconds >= found[0].seconds + found[1].seconds >= 0.02
    assert found[2].peak_rss_bytes >= max(t.peak_rss_bytes for t in found[:2]) > 0


def test_outside_of_a_stage_no_part_is_recorded(run):
    with step(run, "read") as found:
        pass
    assert take_timings(run.run_id) == []
    assert found.peak_rss_bytes > 0


def test_stage_that_fails_is_recorded_as_far_as_it_went(run):
    def body(run):
        with step(run, "read"):
            pass
        raise ZeroDivisionError

    found, raised = timed(run, body)
    assert isinstance(raised, ZeroDivisionError)
    assert [t.stage for t in found] == ["whole: read", "whole"]


def test_try_that_is_made_again_leaves_nothing(run):
    def body(run):
        with step(run, "read"):
            pass
        raise error(HomeLocked)

    found, raised = timed(run, body)
    assert isinstance(raised, HomeLocked)
    assert found == []


def test_memory_limit_names_the_stage(run):
    def body(run):
        raise error(MemoryLimitReached)

    found, raised = timed(run, body)
    assert str(raised).startswith("stage 'whole' of 2026-01, file: expected rest")
    assert [t.stage for t in found] == ["whole"]


def test_start_up_is_recorded_for_the_first_run_of_a_process(run, monkeypatch):
    monkeypatch.setattr(module, "_begun", [])
    monkeypatch.setattr(module, "age_seconds", lambda: 7.5)
    record_start_up(run)
    record_start_up(replace(run, run_id="later"))
    assert [(t.stage, t.seconds) for t in take_timings("run")] == [(START_UP, 7.5)]
    assert take_timings("later") == []


def test_start_up_is_left_out_where_the_system_does_not_tell(run, monkeypatch):
    monkeypatch.setattr(module, "_begun", [])
    monkeypatch.setattr(module, "age_seconds", lambda: None)
    record_start_up(run)
    assert take_timings("run") == []
