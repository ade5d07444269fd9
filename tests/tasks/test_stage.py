import time
from dataclasses import replace
from itertools import pairwise

import pytest
from prefect import flow

from creditflow.errors import ContentRefused, FileUnsettled, HomeLocked
from creditflow.month import Month
from tasks.home import Home
from tasks.stage import Patience, Run, stage, take_timings

pytestmark = pytest.mark.flow


def error(kind):
    return kind("file", expected="rest", found="unrest", remedy="Wait.")


@pytest.fixture
def run(tmp_path, prefect_server):
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
