"""What a stage of a run is: a Prefect task that is timed and announced.

Stages pass keys (month, file hash, version), never frames: Prefect hashes and logs what it is given.
"""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE

from creditflow.month import Month
from tasks.home import Home
from tasks.options import Options

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Run:
    """One run of one month: its identity, its home and its options.

    `command` says who asked: `run` a person, `schedule` the clock, `backfill` a range. `as_of` is `now` where
    the month is to be scored by today's champion with all outcomes known today, and not as at that time.
    """

    run_id: str
    month: Month
    home: Home
    code_version: str
    options: Options = field(default_factory=Options)
    memory_limit: str | None = None
    command: Literal["run", "schedule", "backfill"] = "run"
    as_of: Literal["then", "now"] = "then"


@dataclass(frozen=True)
class Timing:
    """One stage of one run. `rows` is None where a stage counts none."""

    run_id: str
    month: str
    stage: str
    seconds: float
    rows: int | None
    peak_rss_bytes: int


Listener = Callable[[str, Month, Literal["start", "end"]], None]
listeners: list[Listener] = []
timings: list[Timing] = []


def stage(name: str) -> Callable[[Callable[Concatenate[Run, P], R]], Callable[Concatenate[Run, P], R]]:
    """Makes a function of a `Run` a Prefect task called `name` that is timed and announced.

    A result with an attribute `rows` has it recorded.
    """

    def decorate(function: Callable[Concatenate[Run, P], R]) -> Callable[Concatenate[Run, P], R]:
        @wraps(function)
        def timed(run: Run, *args: P.args, **kwargs: P.kwargs) -> R:
            _announce(name, run.month, "start")
            started = time.perf_counter()
            result = function(run, *args, **kwargs)
            timings.append(_timing(run, name, time.perf_counter() - started, result))
            _announce(name, run.month, "end")
            return result

        shell: Any = task(name=name, cache_policy=NO_CACHE, persist_result=False)(timed)
        return shell

    return decorate


def take_timings(run_id: str) -> list[Timing]:
    """The timings of a run so far, removed from the list."""
    taken = [timing for timing in timings if timing.run_id == run_id]
    timings[:] = [timing for timing in timings if timing.run_id != run_id]
    return taken


def _announce(name: str, month: Month, moment: Literal["start", "end"]) -> None:
    for listener in listeners:
        listener(name, month, moment)


def _timing(run: Run, name: str, seconds: float, result: object) -> Timing:
    rows = getattr(result, "rows", None)
    # ru_maxrss counts KiB on Linux.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Timing(run.run_id, str(run.month), name, seconds, rows, peak)
