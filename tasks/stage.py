"""What a stage of a run is: a Prefect task that is timed and announced.

Stages pass keys (month, file hash, version), never frames: Prefect hashes and logs what it is given. A stage
tells its parts by `step`; their times are within its own and are never added to it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from creditflow.errors import FileUnsettled, HomeLocked, MemoryLimitReached
from creditflow.month import Month
from tasks.home import Home
from tasks.measure import Measured, age_seconds, highest, measured
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
    """One stage of one run, or a part of one: `STAGE: PART`. `rows` is None where none are counted."""

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
            with _recorded(run, name) as found:
                result = function(run, *args, **kwargs)
                found.rows = getattr(result, "rows", None)
            _announce(name, run.month, "end")
            return result

        shell: Any = _Stage(
            timed, name=name, cache_policy=NO_CACHE, persist_result=False, retry_condition_fn=_can_pass
        )
        return shell

    return decorate


START_UP = "start-up"
_begun: list[str] = []


def record_start_up(run: Run) -> None:
    """Writes down what a process spent before its first run began: imports, Prefect's server, a look around.

    Nothing for its later runs, and where the system does not tell a process's age.
    """
    age = age_seconds()
    if not _begun and age is not None:
        timings.append(_timing(run, START_UP, Measured(age, highest())))
    _begun.append(run.run_id)


@contextmanager
def step(run: Run, name: str) -> Iterator[Measured]:
    """Times a part of the stage that is going on; set `rows` of what it yields where it counts some.

    A part that is gone through several times is shown as one. Outside of a stage nothing is recorded.
    """
    stage_name = _going_on.get()
    with measured() as found:
        yield found
    if stage_name is not None:
        timings.append(_timing(run, f"{stage_name}{PART}{name}", found))


def take_timings(run_id: str) -> list[Timing]:
    """The timings of a run so far, removed from the list."""
    taken = [timing for timing in timings if timing.run_id == run_id]
    timings[:] = [timing for timing in timings if timing.run_id != run_id]
    return taken


# Between a stage and its part; sums of a run's seconds leave out what has it.
PART = ": "
_going_on: ContextVar[str | None] = ContextVar("stage", default=None)


@contextmanager
def _recorded(run: Run, name: str) -> Iterator[Measured]:
    """Has the block's time written down, also of one that fails: of a failed run one wants to know it most.

    A try that failed for a reason in `PASSING` is not: the next one counts.
    """
    before, within = len(timings), _going_on.set(name)
    try:
        with measured() as found:
            yield found
    except PASSING:
        del timings[before:]
        raise
    except MemoryLimitReached as error:
        timings.append(_timing(run, name, found))
        raise _of_stage(error, name, run) from error
    except BaseException:
        timings.append(_timing(run, name, found))
        raise
    finally:
        _going_on.reset(within)
    timings.append(_timing(run, name, found))


def _of_stage(error: MemoryLimitReached, name: str, run: Run) -> MemoryLimitReached:
    """The error with the stage that met it, which the database cannot know."""
    return MemoryLimitReached(
        f"stage {name!r} of {run.month}, {error.where}",
        expected=error.expected,
        found=error.found,
        remedy=error.remedy,
    )


def _announce(name: str, month: Month, moment: Literal["start", "end"]) -> None:
    for listener in listeners:
        listener(name, month, moment)


def _timing(run: Run, name: str, found: Measured) -> Timing:
    return Timing(run.run_id, str(run.month), name, found.seconds, found.rows, found.peak_rss_bytes)
