"""`creditflow serve`: the schedule with no other set-up, for as long as the process lives.

It starts a Prefect server of its own on loopback, unless PREFECT_API_URL names one, and runs the deployments
`monthly` (by the clock), `backfill` and `study` (when asked for), each run in a process of its own, one at a
time.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from filelock import FileLock, Timeout

from creditflow.errors import HomeLocked, ServerUnreachable, UsageError
from flows.lines import speak
from flows.server import OwnServer, answers
from flows.settings import Settings
from tasks.home import Home
from tasks.schedule import EARLY, cron, expected_month

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.deployments.runner import RunnerDeployment

POLL_SECONDS = 5.0
# A server that ends this often within an hour will not live.
RESTARTS_AN_HOUR = 3
# How far back to look for when a schedule fired, a step at a time: one may fire every minute or once a year.
_BACK = tuple(timedelta(days=days) for days in (1 / 24, 1, 32, 366))
_log = logging.getLogger("creditflow.serve")


# ── The command ─────────────────────────────────────────────────────────────────────────────────


def serve(settings: Settings, cron_text: str | None = None) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        cron_text: when to run instead of the day and hour of the settings, in the time zone of the settings.

    Raises:
        HomeLocked: another process serves this home.
        ServerUnreachable: PREFECT_API_URL names a server that does not answer, or the own one does not start.
        UsageError: `cron_text` is no cron expression.
    """
    # Before Prefect is imported: a moment that passes meanwhile has to be made up for as well.
    begun = datetime.now(UTC)
    home = Home(settings.home).prepare()
    _prepare()
    with _only_one(home), _ended_by_signals(), _server(home) as own:
        when = cron_text or cron(settings)
        upcoming = next_run(when, settings.schedule_timezone, begun)
        if own:
            own.start().wait()
        url = os.environ["PREFECT_API_URL"].removesuffix("/api")
        _log.info("serving %s", home.root)
        _log.info("monthly: %s, %s; backfill and study when asked for; one at a time", when, _zone(settings))
        _log.info(
            "next run %s UTC, then for %s",
            f"{upcoming:%Y-%m-%d %H:%M}",
            expected_month(upcoming + EARLY, settings),
        )
        _log.info("pages of Prefect: %s   (Ctrl-C ends)", url)
        with suppress(KeyboardInterrupt, asyncio.CancelledError):
            asyncio.run(_Service(settings, when, own, upcoming).run())
        _log.info("ending")


def _zone(settings: Settings) -> str:
    return f"time zone {settings.schedule_timezone}"


def _prepare() -> None:
    """What Prefect is told by the environment has to be said before it is imported."""
    os.environ.setdefault("PREFECT_LOGGING_EXTRA_LOGGERS", "creditflow")
    speak()


@contextmanager
def _only_one(home: Home) -> Iterator[None]:
    note = home.root / ".serve.pid"
    lock = FileLock(home.root / ".serve.lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise HomeLocked(
            str(home.root),
            expected="no other creditflow serve on this home",
            found=f"process {_text(note)}",
            remedy="End that one first; one is enough.",
        ) from error
    try:
        note.write_text(str(os.getpid()))
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _text(note: Path) -> str:
    with suppress(OSError):
        return note.read_text() or "unknown"
    return "unknown"


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM ends the process as Ctrl-C does, also while the server starts."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        _log.info("ended before it served")
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _server(home: Home) -> Iterator[OwnServer | None]:
    """A server of one's own, yet to be started, or None where PREFECT_API_URL names one that answers."""
    named = os.environ.get("PREFECT_API_URL")
    if named:
        reach(named)
        yield None
        return
    own = OwnServer(home.root / "prefect")
    # Prefect reads it once, when it is imported.
    os.environ["PREFECT_API_URL"] = f"{own.url}/api"
    try:
        yield own
    finally:
        own.stop()
        del os.environ["PREFECT_API_URL"]


def reach(api_url: str) -> None:
    """Raises ServerUnreachable where no Prefect server answers at `api_url`."""
    if not answers(api_url):
        raise ServerUnreachable(
            f"PREFECT_API_URL={api_url}",
            expected="a Prefect server that answers",
            found="none",
            remedy="Start it (prefect server start), or correct the address; it ends in /api.",
        )


def next_run(when: str, zone: str, since: datetime) -> datetime:
    """The first moment (UTC) from `since` on at which the cron expression `when` fires.

    Raises:
        UsageError: it is no cron expression.
    """
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.server.schemas.schedules import CronSchedule as Dates
    from pydantic import ValidationError

    try:
        CronSchedule(cron=when, timezone=zone)
    except ValidationError as error:
        raise UsageError(
            "--cron",
            expected="a cron expression, such as '0 6 5 * *'",
            found=repr(when),
            remedy="Five fields: minute, hour, day of the month, month, day of the week.",
        ) from error
    (date,) = asyncio.run(Dates(cron=when, timezone=zone).get_dates(n=1, start=since))
    # A plain datetime: Prefect's own kind loses its zone in sums.
    return datetime.fromtimestamp(date.timestamp(), UTC)


async def fired_last(when: str, zone: str, since: datetime, now: datetime) -> datetime | None:
    """The last moment (UTC) from `since` to `now` at which the cron expression `when` fired, if any."""
    from prefect.server.schemas.schedules import CronSchedule as Dates

    for back in _BACK:
        begin = max(since, now - back)
        if begin <= now and (dates := await Dates(cron=when, timezone=zone).get_dates(start=begin, end=now)):
            return datetime.fromtimestamp(dates[-1].timestamp(), UTC)
    return None


# ── The service ─────────────────────────────────────────────────────────────────────────────────


@dataclass
class _Service:
    """The runner of the deployments, and what watches it.

    Attributes:
        due: the first moment, from the start of the service on, at which the schedule fires.
    """

    settings: Settings
    when: str
    own: OwnServer | None
    due: datetime
    deployments: list[UUID] = field(default_factory=list)
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    said: set[UUID] = field(default_factory=set)
    silent: bool = False
    restarts: list[float] = field(default_factory=list)
    runner: Any = None

    async def run(self) -> None:
        """Runs until a signal comes or the server is lost for good."""
        from prefect.client.orchestration import get_client

        async with get_client() as client:
            missed = await self._missed(client) if self.own else False
            await self._new_runner(client, missed)
            await self._until_ended(client)

    async def _new_runner(self, client: "PrefectClient", missed: bool = False) -> None:
        """Puts the deployments on the server, and makes up for a run that was missed before that."""
        from prefect.runner import Runner

        self.runner = Runner(name="creditflow", limit=1, pause_on_shutdown=False)
        self.deployments = [await self.runner.aadd_deployment(d) for d in await _deployments(self)]
        if missed or await self._passed_over(client):
            await client.create_flow_run_from_deployment(self.deployments[0])
            _log.info("a run was missed while nothing served: catching up now")

    async def _passed_over(self, client: "PrefectClient") -> bool:
        """Whether the schedule fired since the service began, and no run came of it.

        Prefect makes runs for what is to come after a deployment is put on the server, which takes a while.
        """
        now = datetime.now(UTC)
        fired = await fired_last(self.when, self.settings.schedule_timezone, self.due, now)
        return fired is not None and not await _runs_from(client, self.deployments[0], fired)

    async def _keep_running(self, client: "PrefectClient") -> None:
        """A runner gives up when the server does not answer for a while; another one takes its place."""
        api = os.environ["PREFECT_API_URL"]
        while True:
            try:
                await self.runner.start()
                return
            except Exception as error:
                _log.warning("the runner ended: %s", _words(error))
                await asyncio.sleep(POLL_SECONDS)
            while not await asyncio.to_thread(answers, api):
                await asyncio.sleep(POLL_SECONDS)
            await self._new_runner(client)
            _log.info("serving again")

    async def _until_ended(self, client: "PrefectClient") -> None:
        running = asyncio.create_task(self._keep_running(client))
        watching = asyncio.create_task(self._watch(client))
        ended = asyncio.create_task(_signalled())
        done, _ = await asyncio.wait({running, watching, ended}, return_when=asyncio.FIRST_COMPLETED)
        unfinished = ended in done and await self._under_way(client)
        with suppress(Exception):
            await self.runner.astop()
        if unfinished:
            await client.create_flow_run_from_deployment(self.deployments[0])
            _log.info("a run was ended before its end; the next start does it again")
        for task in (running, watching, ended):
            task.cancel()
        results = await asyncio.gather(running, watching, ended, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _missed(self, client: "PrefectClient") -> bool:
        """Whether a run was due or under way when nothing served; such runs are marked as ended."""
        from prefect.states import Crashed

        missed = False
        for run in await _open_runs(client):
            state = run.state
            if state is None or (run.expected_start_time or self.since) > self.since:
                continue
            missed = True
            if not state.is_scheduled():
                message = "Its process ended with the service."
                await client.set_flow_run_state(run.id, Crashed(message=message), force=True)
        return missed

    async def _under_way(self, client: "PrefectClient") -> bool:
        monthly = self.deployments[0]
        with suppress(Exception):
            runs = await _open_runs(client)
            return any(
                run.deployment_id == monthly and run.state and not run.state.is_scheduled() for run in runs
            )
        return False

    # ── Watching ──

    async def _watch(self, client: "PrefectClient") -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if self.own and not self.own.alive:
                await self._restart(self.own)
            try:
                for run in await _ended_runs(client, self.deployments, self.since):
                    self._report(run)
                self.silent = False
            except Exception as error:  # the server may be starting anew or the network be down
                if not self.silent:
                    _log.warning("the Prefect server does not answer: %s", _words(error))
                self.silent = True

    async def _restart(self, own: OwnServer) -> None:
        recent = [moment for moment in self.restarts if moment > time.monotonic() - 3600]
        self.restarts = [*recent, time.monotonic()]
        if len(self.restarts) > RESTARTS_AN_HOUR:
            raise ServerUnreachable(
                "the Prefect server",
                expected="a process that lives",
                found=f"one that ended {len(self.restarts)} times within an hour",
                remedy=f"See {own.folder / 'server.log'}.",
            )
        _log.warning("the Prefect server ended; starting it again")
        await asyncio.to_thread(lambda: own.start().wait())

    def _report(self, run: "FlowRun") -> None:
        if run.id in self.said or run.state is None:
            return
        self.said.add(run.id)
        if len(self.said) > 1000:
            self.since, self.said = datetime.now(UTC), {run.id}
        if run.state.is_completed():
            took = run.total_run_time.total_seconds()
            _log.info("%s: done in %.0f s", run.name, took)
        else:
            words = " ".join((run.state.message or "no message").split())
            _log.error("%s: %s: %s", run.name, (run.state.name or "failed").lower(), words)


async def _signalled() -> None:
    """Returns at the first SIGTERM or SIGINT."""
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    while not asked.is_set():
        # Each runner puts a handler of its own in this one's place when it starts.
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, asked.set)
        with suppress(TimeoutError):
            await asyncio.wait_for(asked.wait(), 1)


def _words(error: BaseException) -> str:
    """An error in one line, however many it holds."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(f"{type(error).__name__}: {error}".split())


async def _deployments(service: _Service) -> "list[RunnerDeployment]":
    from prefect.flows import EntrypointType
    from prefect.schedules import Cron

    from flows.backfill import backfill
    from flows.schedule import scheduled
    from flows.study import study

    clock = Cron(service.when, timezone=service.settings.schedule_timezone)
    by_module = EntrypointType.MODULE_PATH
    return [
        await scheduled.ato_deployment("monthly", schedule=clock, entrypoint_type=by_module),
        await backfill.ato_deployment("backfill", entrypoint_type=by_module),
        await study.ato_deployment("study", entrypoint_type=by_module),
    ]


async def _open_runs(client: "PrefectClient") -> "list[FlowRun]":
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.objects import StateType

    open_states = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    wanted = FlowRunFilter.model_validate({"state": {"type": {"any_": open_states}}})
    return await client.read_flow_runs(flow_run_filter=wanted, limit=200)


async def _runs_from(client: "PrefectClient", deployment: UUID, moment: datetime) -> "list[FlowRun]":
    """Runs of the deployment, in any state, that were to begin at `moment` or later and by now."""
    from prefect.client.schemas.filters import FlowRunFilter

    wanted = FlowRunFilter.model_validate(
        {
            "deployment_id": {"any_": [deployment]},
            "expected_start_time": {"after_": moment, "before_": datetime.now(UTC)},
        }
    )
    return await client.read_flow_runs(flow_run_filter=wanted, limit=1)


async def _ended_runs(client: "PrefectClient", deployments: list[UUID], since: datetime) -> "list[FlowRun]":
    from prefect.client.schemas.filters import FlowRunFilter

    wanted = FlowRunFilter.model_validate(
        {
            "deployment_id": {"any_": deployments},
            "end_time": {"after_": since},
        }
    )
    return await client.read_flow_runs(flow_run_filter=wanted, limit=200)
