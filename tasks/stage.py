"""What a stage of a run is: a Prefect task that is timed and announced.

Stages pass keys (month, file hash, version), never frames: Prefect hashes and logs what it is given.
"""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from creditflow.errors import FileUnsettled, HomeLocked
from creditflow.month import Month
from tasks.home import Home
from tasks.options import Alerting, Options

P = ParamSpec("P")
R = TypeVar("R")


Command = Literal["run", "schedule", "backfill", "outcomes"]

# Faults that pass by themselves: somebody writes the file, or reads the writer's database.
PASSING = (FileUnsettled, HomeLocked)


@dataclass(frozen=True)
class Patience:
    """How long a run waits for what can pass; no part of what decides its rows.

    `settle_seconds` a file must have stayed as it is; a stage is tried again `retries` times, after
    `retry_seconds`, twice that, four times that, …
    """

    settle_seconds: float = 2
    retries: int = 3
    retry_seconds: float = 5

    @property
    def pauses(self) -> list[float]:
        """Seconds before each further try."""
        return [self.retry_seconds * 2**attempt for attempt in range(self.retries)]


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
    command: Command = "run"
    as_of: Literal["then", "now"] = "then"
    patience: Patience = field(default_factory=Patience)
    alerting: Alerting = field(default_factory=Alerting)


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


class _Stage(Task[P, R]):
    """A task whose retries follow the patience of the run that it is given."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        run: Run = args[0]
        patient = self.with_options(
            retries=run.patience.retries, retry_delay_seconds=run.patience.pauses or 0
        )
        return Task.__call__(patient, *args, **kwargs)


def _can_pass(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    return isinstance(state.data, PASSING)


def stage(name: str) -> Callable[[Callable[Concatenate[Run, P], R]], Callable[Concatenate[Run, P], R]]:
    """Makes a function of a `Run` a Prefect task called `name` that is timed and announced.

    A result with an attribute `rows` has it recorded. A stage that fails for a reason in `PASSING` is tried
    again.
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

        shell: Any = _Stage(
            timed, name=name, cache_policy=NO_CACHE, persist_result=False, retry_condition_fn=_can_pass
        )
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
