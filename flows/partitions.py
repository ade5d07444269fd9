"""Scores a folder of Parquet partitions by the champion's models, on this machine or on a Dask cluster.

Runs by hand: `creditflow score INPUT OUTPUT [--dask ADDRESS]`. Both ways run the same function on each
partition, `tasks.partition_worker.score_partition`, and differ in the task runner alone. What is in place is
not done again.
"""

import importlib.util
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.settings import PREFECT_API_URL
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from creditflow.errors import ClusterUnreachable, CreditflowError, ScoringIncomplete, StorageError, UsageError
from creditflow.version import code_version
from flows import show
from flows.options import run_options, run_patience
from flows.server import answers
from flows.settings import Settings, load_settings
from tasks.home import Home, locked
from tasks.partition_worker import score_partition
from tasks.partitions import Done, Job, Plan, claim, finish, job_of, plan
from tasks.storage import Place, in_a_line

# Failures that are shown by name; the others are counted.
SHOWN = 5
CONNECT_SECONDS = 10

Listener = Callable[[int, int], None]
listeners: list[Listener] = []


@dataclass(frozen=True)
class Failed:
    """A partition that could not be scored, and why."""

    partition: str
    error: BaseException

    def __str__(self) -> str:
        text = str(self.error) if isinstance(self.error, CreditflowError) else in_a_line(self.error)
        return text if self.partition in text else f"partition {self.partition}: {text}"


# ── The command ─────────────────────────────────────────────────────────────────────────────────


def answer(settings: Settings, source: str, target: str, dask: str | None, overwrite: bool) -> None:
    """Scores what is to be scored, with a bar, and prints what was done; `dask` wins over the setting."""
    if dask:
        settings = load_settings(dask=dask)
    with show.steps("scoring") as step:
        listeners.append(lambda done, total: step("partitions", done, total))
        try:
            lines = score(settings, source, target, overwrite)
        finally:
            listeners.pop()
    show.print_lines(lines)


def score(settings: Settings, source: str, target: str, overwrite: bool = False) -> list[str]:
    """Scores what is to be scored and returns the lines to print.

    Raises:
        ScoringIncomplete: some partitions could not be scored; the others were.
        UsageError, InputRefused, StorageError: see `tasks.partitions.plan` and `job_of`.
        ClusterUnreachable: see `require_workers`.
    """
    place = Place(target)
    found = plan(_job(settings, source), place, overwrite=overwrite)
    if found.complete:
        return [f"nothing to do: {_in_words(found)}"]
    from flows.start import prefect_at_hand

    with prefect_at_hand(settings.home):
        runner = task_runner(settings.dask)
        done = score_partitions.with_options(task_runner=runner)(source, target, overwrite)
    return [f"{len(found.todo):,} scored, {len(found.done):,} were in place: {_in_words(done)}"]


def _job(settings: Settings, source: str) -> Job:
    home = Home(settings.home)
    if not home.warehouse.exists():
        # Says so, and leaves a home that is not there as it is.
        return job_of(home, Place(source).url, run_options(settings))
    with locked(home, "a look at the champion", settings.lock_wait_seconds):
        return job_of(home, Place(source).url, run_options(settings), settings.memory_limit)


def _in_words(found: Plan) -> str:
    count, (rows_in, rows_out) = len(found.partitions), found.rows
    return (
        f"{count:,} partition{'s' * (count != 1)}, {rows_in:,} clients × {len(found.job.manifests)} models = "
        f"{rows_out:,} rows by {found.job.champion}@{found.job.version}"
    )


def _incomplete(target: Place, found: Plan, failed: Sequence[Failed]) -> CreditflowError:
    """One partition's own error, or all of them in one."""
    others = len(found.todo) - len(failed) + len(found.done)
    kept = f"Of the others, {others:,} {'is' if others == 1 else 'are'} in place."
    if len(failed) == 1 and isinstance(failed[0].error, CreditflowError):
        only = failed[0].error
        remedy = f"{only.remedy} {kept}"
        return type(only)(only.where, expected=only.expected, found=only.found, remedy=remedy)
    named = "; ".join(str(one).rstrip(".") for one in failed[:SHOWN])
    more = f"; and {len(failed) - SHOWN:,} more" if len(failed) > SHOWN else ""
    return ScoringIncomplete(
        target.url,
        expected=f"all {len(found.partitions):,} partitions scored",
        found=f"{len(failed):,} that were not: {named}{more}",
        remedy=f"Correct them and score again. {kept}",
    )


# ── Where the work is done ──────────────────────────────────────────────────────────────────────


def task_runner(address: str | None) -> TaskRunner[Any]:
    """The workers of the Dask cluster at the address, or one partition after another on this machine.

    A partition is streamed by as many threads as there are processors, so one at a time is enough, and bounds
    the memory.

    Raises:
        UsageError: the packages that speak to Dask are not installed.
        ClusterUnreachable: the cluster cannot do the work; see `require_workers`.
    """
    if address is None:
        return _here()
    if importlib.util.find_spec("prefect_dask") is None:
        raise UsageError(
            f"--dask {address}",
            expected="the packages of the extra dask",
            found="no prefect_dask",
            remedy="Install them: pip install 'creditflow[dask]', here and on every worker.",
        )
    from prefect_dask import DaskTaskRunner

    require_workers(address, str(PREFECT_API_URL.value()))
    return DaskTaskRunner(address=address, client_kwargs={"timeout": CONNECT_SECONDS})


def _here() -> TaskRunner[Any]:
    runner: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=1)
    return runner


def require_workers(address: str, api_url: str) -> None:
    """Asks every worker whether it can do the work: later, tasks would wait or fail one by one.

    Raises:
        ClusterUnreachable: no scheduler answers, there is no worker, or one has other code or does not reach
            Prefect's server, which keeps the states of its tasks.
    """
    from distributed import Client

    # Its errors are told in one line.
    with _silent("distributed"):
        try:
            with Client(address, timeout=CONNECT_SECONDS, set_as_default=False) as client:
                found = client.run(readiness, api_url, on_error="return")
        except (OSError, ValueError, TypeError) as error:
            raise _cluster(
                f"Dask scheduler {address}",
                f"an answer within {CONNECT_SECONDS} s",
                in_a_line(error),
                "Start it, dask scheduler, or correct the address.",
            ) from error
    if not found:
        worker = f"dask worker {address} --nthreads 1"
        raise _cluster(f"Dask scheduler {address}", "at least one worker", "none", f"Start one: {worker}.")
    for worker, said in found.items():
        _refuse_unready(worker, said, api_url)


def readiness(api_url: str) -> tuple[str, bool]:
    """On a worker: its code, and whether it reaches Prefect's server."""
    return code_version(), answers(api_url)


def _refuse_unready(worker: str, found: tuple[str, bool] | BaseException, api_url: str) -> None:
    if isinstance(found, BaseException):
        raise _cluster(
            f"Dask worker {worker}",
            "creditflow and its packages",
            in_a_line(found),
            "Install the same creditflow on every machine, with the extra dask.",
        )
    code, reaches = found
    if code != code_version():
        remedy = "Install the same creditflow on every machine, and restart its workers."
        raise _cluster(f"Dask worker {worker}", f"code {code_version()}, as here", code, remedy)
    if not reaches:
        raise _cluster(
            f"Dask worker {worker}",
            f"that it reaches Prefect's server at {api_url}",
            "no answer",
            "Start a server that all machines reach, and name it by PREFECT_API_URL.",
        )


def _cluster(where: str, expected: str, found: str, remedy: str) -> ClusterUnreachable:
    return ClusterUnreachable(where, expected=expected, found=found, remedy=remedy)


@contextmanager
def _silent(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


# ── The flow ────────────────────────────────────────────────────────────────────────────────────


def _can_pass(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """Whether a further try may help: a storage fails for a while, a refused partition stays refused."""
    return not isinstance(state.data, CreditflowError) or type(state.data) is StorageError


@task(
    name="score partition",
    task_run_name="score-{name}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retry_condition_fn=_can_pass,
)
def score_one(target: str, digest: str, name: str, mark: str) -> Done:
    """One partition, on whichever worker it comes to; the arguments are keys alone."""
    return score_partition(target, digest, name, mark, _scratch())


def _scratch() -> str | None:
    """The Dask worker's own folder, which Dask sweeps after a kill; None where this is no Dask worker."""
    if "distributed" not in sys.modules:
        return None
    from distributed import get_worker

    try:
        return str(get_worker().local_directory)
    except ValueError:
        return None


@flow(name="score-partitions", task_runner=_here())
def score_partitions(source: str, target: str, overwrite: bool = False) -> Plan:
    """Scores every partition of `source` that is not in place in `target` yet; see `tasks.partitions`.

    Raises:
        InputRefused: of a single partition that could not be scored; the others were.
        ScoringIncomplete: several could not be, or the rows do not add up.
    """
    settings, place = load_settings(), Place(target)
    home, job = Home(settings.home), _job(settings, source)
    found = plan(job, place, overwrite=overwrite)
    with locked(home, "the copy of its models", settings.lock_wait_seconds):
        claim(home, found, place, overwrite=overwrite)
    patience = run_patience(settings)
    patient = score_one.with_options(retries=patience.retries, retry_delay_seconds=patience.pauses or 0)
    futures = {p.name: patient.submit(place.url, job.digest, p.name, p.mark) for p in found.todo}
    failed = list(_heard(_failures(futures), len(futures)))
    if failed:
        raise _incomplete(place, found, failed)
    return finish(job, place)


def _failures(futures: dict[str, Any]) -> Iterator[Failed | None]:
    """What failed, and None for what did not, in the order of the partitions."""
    for name, future in futures.items():
        try:
            future.result()
        # Whatever became of a partition, the others go on.
        except Exception as error:
            yield Failed(name, error)
        else:
            yield None


def _heard(results: Iterable[Failed | None], total: int) -> Iterator[Failed]:
    """The failures alone, while listeners are told how far it is."""
    for number, result in enumerate(results, 1):
        for listener in listeners:
            listener(number, total)
        if result:
            yield result
