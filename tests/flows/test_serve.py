"""`creditflow serve` and `creditflow deploy` in processes of their own, against real Prefect servers."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from creditflow.errors import HomeLocked, ServerUnreachable, UsageError
from creditflow.month import Month
from flows import deploy, serve
from flows.server import OwnServer, answers
from flows.settings import load_settings
from sql.warehouse import open_published
from tasks.home import Home

MONTH = Month(2020, 1)


@pytest.fixture(scope="module")
def one_month(tmp_path_factory):
    """An inbox with one small month, which no model can be developed on."""
    from models.simulator import SimulationSettings
    from tasks.simulate import write_simulation

    inbox = tmp_path_factory.mktemp("one") / "inbox"
    inbox.mkdir()
    write_simulation(SimulationSettings(first=MONTH, months=1, clients=200, seed=7), inbox)
    return inbox


@pytest.fixture
def environment(one_month, tmp_path):
    root = tmp_path / "home"
    root.mkdir()
    (root / "inbox").symlink_to(one_month)
    return {
        "CREDITFLOW_HOME": str(root),
        "CREDITFLOW_EVIDENTLY": "false",
        "CREDITFLOW_SCHEDULE_LOOK_AGAIN_HOURS": "0",
        "HOME": str(tmp_path),
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PREFECT_RUNNER_POLL_FREQUENCY": "2",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }


class Command:
    """A process whose output is read as it comes."""

    def __init__(self, folder, environment, *arguments):
        self.log = folder / f"{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                arguments, env=environment, stdout=log, stderr=log, start_new_session=True, cwd=folder
            )

    @property
    def text(self):
        return self.log.read_text()

    def says(self, pattern, seconds=100):
        """Waits for a line; returns the match."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if found := re.search(pattern, self.text):
                return found
            assert self.process.poll() is None, self.text
            time.sleep(0.2)
        raise AssertionError(f"no {pattern!r} within {seconds} s in:\n{self.text}")

    def end(self, name=signal.SIGTERM, seconds=40):
        self.process.send_signal(name)
        return self.process.wait(seconds)


@pytest.fixture
def start(tmp_path):
    started = []

    def run(environment, *arguments):
        started.append(Command(tmp_path, environment, *arguments))
        return started[-1]

    yield run
    for command in started:
        if command.process.poll() is None:
            command.process.kill()
            command.process.wait()


def creditflow(*arguments):
    return (sys.executable, "-m", "flows.cli", *arguments)


def dead(url, seconds=30):
    until = time.monotonic() + seconds
    while time.monotonic() < until and answers(f"{url}/api", 1):
        time.sleep(0.3)
    return not answers(f"{url}/api", 1)


def soon():
    """A cron expression of a minute that begins in 30 to 90 seconds, and after it no more for a day.

    It may come before the deployments are on the server: what was said to run then has to run all the same.
    Nothing waits for a moment before the process began, so it is given time to be one.
    """
    moment = datetime.fromtimestamp(time.time() + 90, UTC)
    return f"{moment.minute} {moment.hour} * * *"


# ── serve ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_scheduled_run_happens_by_itself_and_the_service_ends_on_sigterm(start, environment):
    service = start(environment, *creditflow("serve", "--cron", soon()))
    url = service.says(r"pages of Prefect: (http://127\.0\.0\.1:\d+)")[1]
    service.says(rf"{MONTH}: 200 received = \d+ accepted \+ \d+ quarantined; awaiting a first model", 200)
    assert "for 20" in service.text
    service.says(r"scheduled-\d{4}-\d\d: done in \d+ s")
    second = start(environment, *creditflow("serve"))
    assert second.process.wait(60) == 1
    assert f"no other creditflow serve on this home, found process {service.process.pid}" in second.text
    assert service.end() == 0
    assert dead(url)
    lines = service.text.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC  \S", line) for line in lines), service.text
    assert lines[-1].endswith("ending")
    with open_published(Home(Path(environment["CREDITFLOW_HOME"])).published) as con:
        assert con.execute("SELECT month, status FROM runs").fetchall() == [(str(MONTH), "done")]


@pytest.mark.slow
def test_service_that_is_killed_takes_its_server_with_it_and_catches_up_after(start, environment):
    """The run that was due meanwhile is made up for at the next start; that it fails ends nothing."""
    service = start(environment, *creditflow("serve", "--cron", "* * * * *"))
    url = service.says(r"pages of Prefect: (http://127\.0\.0\.1:\d+)")[1]
    time.sleep(15)
    assert service.end(signal.SIGKILL) == -signal.SIGKILL
    assert dead(url)
    inbox = Path(environment["CREDITFLOW_HOME"]) / "inbox"
    inbox.unlink()
    inbox.mkdir()
    (inbox / f"clients_{MONTH}.csv").write_text("nothing of use\n")
    time.sleep(max(0, 61 - time.time() % 60))
    again = start(environment, *creditflow("serve", "--cron", "0 6 1 1 *"))
    again.says("a run was missed while nothing served: catching up now")
    again.says(rf"scheduled-\d{{4}}-\d\d: failed: .*clients_{MONTH}\.csv", 160)
    assert again.process.poll() is None
    assert again.end(signal.SIGINT) == 0


def test_bad_cron_is_refused_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setenv("CREDITFLOW_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(OwnServer, "start", lambda self: pytest.fail("a server was started"))
    with pytest.raises(UsageError, match=r"--cron.*'every day'"):
        serve.serve(load_settings(), "every day")
    assert not (tmp_path / "prefect" / "server.db").exists()


def test_second_service_of_a_home_is_refused(tmp_path):
    home = Home(tmp_path).prepare()
    with (
        serve._only_one(home),
        pytest.raises(HomeLocked, match=f"process {os.getpid()}"),
        serve._only_one(home),
    ):
        pass
    with serve._only_one(home):
        pass


@pytest.mark.parametrize("command", [serve.serve, deploy.deploy])
def test_server_that_does_not_answer_is_named(tmp_path, monkeypatch, command):
    monkeypatch.setenv("CREDITFLOW_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with pytest.raises(ServerUnreachable, match=r"PREFECT_API_URL=http://127\.0\.0\.1:9/api"):
        command(load_settings())


def test_deploy_without_a_server_says_so(tmp_path, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pytest.raises(UsageError, match="creditflow serve"):
        deploy.deploy(load_settings(home=tmp_path))


def test_server_that_keeps_ending_ends_the_service(tmp_path, monkeypatch):
    started = []
    own = OwnServer(tmp_path)
    monkeypatch.setattr(OwnServer, "start", lambda self: started.append(1) or self)
    monkeypatch.setattr(OwnServer, "wait", lambda self: None)
    service = serve._Service(load_settings(home=tmp_path), "0 6 5 * *", own, datetime.now(UTC))
    for _ in range(serve.RESTARTS_AN_HOUR):
        asyncio.run(service._restart(own))
    with pytest.raises(ServerUnreachable, match="ended 4 times within an hour"):
        asyncio.run(service._restart(own))
    assert len(started) == serve.RESTARTS_AN_HOUR


def test_server_that_cannot_start_is_named_with_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ServerUnreachable, match=r"a process that ended.*server\.log"):
        OwnServer(tmp_path).start().wait()


def test_service_began_before_it_imported_prefect(tmp_path, monkeypatch):
    """The import alone takes seconds on a busy machine."""
    prepared, counted = [], []
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(serve, "_prepare", lambda: prepared.append(datetime.now(UTC)))

    def ends(when, zone, since):
        counted.append(since)
        raise UsageError("--cron", expected="an end of the test", found=when, remedy="None.")

    monkeypatch.setattr(serve, "next_run", ends)
    with pytest.raises(UsageError, match="an end of the test"):
        serve.serve(load_settings(home=tmp_path))
    assert counted[0] < prepared[0]


@pytest.mark.parametrize(
    ("since", "due"),
    [
        ("2020-03-04 05:58:59", "2020-03-05 06:00"),
        ("2020-03-05 05:59:59.5", "2020-03-05 06:00"),
        ("2020-03-05 06:00", "2020-03-05 06:00"),
        ("2020-03-05 06:00:00.5", "2020-04-05 06:00"),
    ],
)
def test_first_run_is_counted_from_when_the_service_began(since, due):
    """However long ago that is: a moment that passed while it started is still to be run."""
    found = serve.next_run("0 6 5 * *", "UTC", datetime.fromisoformat(since).replace(tzinfo=UTC))
    assert found == datetime.fromisoformat(due).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "since", "fired"),
    [
        ("59 4 * * *", "2026-11-24 04:58", "2026-11-24 04:59"),
        ("59 4 * * *", "2026-11-24 04:59", "2026-11-24 04:59"),
        ("59 4 * * *", "2026-11-24 04:59:01", None),
        ("0 5 * * *", "2026-11-20 04:58", "2026-11-24 05:00"),
        ("1 5 * * *", "2026-11-24 04:58", None),
        ("* * * * *", "2020-01-01 00:00", "2026-11-24 05:00"),
        ("0 6 5 * *", "2026-09-01 00:00", "2026-11-05 06:00"),
        ("0 6 5 * *", "2026-11-24 06:00", None),
    ],
)
def test_when_a_schedule_fired_last(cron, since, fired):
    now = datetime(2026, 11, 24, 5, 0, 20, tzinfo=UTC)
    begun = datetime.fromisoformat(since).replace(tzinfo=UTC)
    found = asyncio.run(serve.fired_last(cron, "UTC", begun, now))
    assert found == (fired and datetime.fromisoformat(fired).replace(tzinfo=UTC))


@pytest.mark.flow
@pytest.mark.parametrize(
    ("ran", "due_ago", "expected"), [(True, 90, False), (False, 90, True), (False, -90, False)]
)
def test_run_whose_moment_passed_while_the_service_started_is_made_up_for(
    prefect_server, tmp_path, ran, due_ago, expected
):
    """The clock fires every minute; `ran`: a run of that moment is known to the server."""
    from prefect import flow
    from prefect.client.orchestration import get_client

    @flow(name=f"nothing-{ran}-{due_ago}")
    def nothing(): ...

    async def passed_over():
        async with get_client() as client:
            flow_id = await client.create_flow(nothing)
            deployment = await client.create_deployment(flow_id, "monthly")
            if ran:
                await client.create_flow_run_from_deployment(deployment)
            due = datetime.fromtimestamp(time.time() - due_ago, UTC)
            cron = f"{due.minute} {due.hour} * * *" if due_ago > 0 else "* * * * *"
            due = due.replace(second=0, microsecond=0)
            service = serve._Service(load_settings(home=tmp_path), cron, None, due, [deployment])
            return await service._passed_over(client)

    assert asyncio.run(passed_over()) is expected


def test_error_of_many_is_one_line():
    error = ExceptionGroup("group", [ExceptionGroup("inner", [ValueError("a\nb")])])
    assert serve._words(error) == "ValueError: a b"


# ── deploy ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_worker_runs_what_was_deployed_when_the_clock_says(start, environment, tmp_path, monkeypatch):
    """The deployments of prefect.yaml on a real server, a real worker, and a run that nobody asked for."""
    for name, value in environment.items():
        if name.startswith(("PREFECT", "CREDITFLOW")):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("CREDITFLOW_SCHEDULE_TIMEZONE", "Asia/Taipei")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS", "5")
    server = OwnServer(tmp_path / "prefect").start()
    try:
        server.wait()
        served = environment | {
            "PREFECT_API_URL": f"{server.url}/api",
            "PREFECT_HOME": str(tmp_path / "prefect"),
            "CREDITFLOW_SCHEDULE_TIMEZONE": "Asia/Taipei",
        }
        for _ in range(2):  # again changes nothing
            done = subprocess.run(creditflow("deploy"), env=served, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
        assert "prefect worker start --pool creditflow" in done.stdout
        facts = ask(served, SOON)
        assert facts.splitlines()[:3] == [
            "backfill 1 []",
            "monthly 1 ['0 6 5 * * Asia/Taipei']",
            "study 1 []",
        ]
        worker = start(served, "prefect", "worker", "start", "--pool", "creditflow", "--limit", "1")
        state = ""
        until = time.monotonic() + 100
        while "scheduled-" not in state and time.monotonic() < until:
            time.sleep(2)
            state = ask(served, ENDED)
        assert re.match(r"scheduled-\d{4}-\d\d Completed auto-scheduled", state), worker.text
    finally:
        server.stop()
    with open_published(Home(Path(environment["CREDITFLOW_HOME"])).published) as con:
        assert con.execute("SELECT month, status FROM runs").fetchall() == [(str(MONTH), "done")]


def ask(environment, code):
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


SOON = """
from datetime import datetime, timedelta, UTC
from prefect.client.orchestration import get_client
from prefect.client.schemas.schedules import IntervalSchedule

with get_client(sync_client=True) as client:
    found = sorted(client.read_deployments(), key=lambda d: d.name)
    for d in found:
        limit = d.global_concurrency_limit.limit
        print(d.name, limit, [f"{s.schedule.cron} {s.schedule.timezone}" for s in d.schedules])
    first = datetime.now(UTC) + timedelta(seconds=20)
    soon = IntervalSchedule(interval=timedelta(minutes=2), anchor_date=first)
    client.create_deployment_schedules(found[1].id, [(soon, True)])
"""
ENDED = """
from prefect.client.orchestration import get_client

with get_client(sync_client=True) as client:
    for run in client.read_flow_runs():
        if run.state.is_final() and run.deployment_id:
            print(run.name, run.state.name, "auto-scheduled" if run.auto_scheduled else "by hand")
"""
