"""The locked set as a whole: it imports, runs a flow, and a cron schedule really creates a run.

`pip check` says nothing of these: each bound of pyproject.toml that no package declares breaks one of them.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")


STACK = (
    "prefect polars duckdb torch sklearn imblearn great_expectations evidently skops safetensors fastexcel"
)


@pytest.mark.parametrize("name", STACK.split())
def test_stack_imports(name):
    __import__(name)


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_pins_everything_exactly_and_names_no_place(lock):
    lines = [
        line for line in (TOP / lock).read_text().splitlines() if line and not line.startswith(("#", "-r "))
    ]
    assert lines
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", line), line


def test_installed_is_what_the_lock_says():
    pins = dict(
        line.split("==") for line in (TOP / "requirements.lock").read_text().splitlines() if "==" in line
    )
    assert pins["torch"] == "2.13.0"
    found = {name: version(name).partition("+")[0] for name in pins}
    assert found == pins


@pytest.mark.flow
def test_flow_runs(prefect_server):
    from prefect import flow, task

    @task
    def one() -> int:
        return 1

    @flow
    def two() -> int:
        return one() + one.submit().result()

    assert two() == 2


# An ephemeral server, such as the harness starts, runs no scheduler: this one is real.
CRON_PROBE = """
import asyncio, sys
from prefect import flow, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId

@flow(name="cron-probe")
def probe() -> None: ...

async def main() -> None:
    deployment = await probe.ato_deployment(name="cron-probe", cron="*/5 * * * *")
    deployment_id = await deployment.aapply()
    wanted = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]))
    async with get_client() as client:
        for _ in range(120):
            runs = await client.read_flow_runs(flow_run_filter=wanted)
            if runs:
                first = min(runs, key=lambda run: run.expected_start_time)
                print(first.state_type.value, first.expected_start_time.isoformat())
                return
            await asyncio.sleep(0.5)

asyncio.run(main())
"""


@pytest.fixture
def scheduling_server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Prefect server of its own; yields the environment of its clients."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = os.environ | {
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
        "PREFECT_LOGGING_SERVER_LEVEL": "CRITICAL",
        "DO_NOT_TRACK": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui", "--port", str(port)]
    server = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_until_healthy(f"{env['PREFECT_API_URL']}/health")
        yield env
    finally:
        server.terminate()
        server.wait(20)


def _wait_until_healthy(url: str) -> None:
    for _ in range(240):
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
            assert answer.status == 200
            return
        time.sleep(0.5)
    pytest.fail("the Prefect server did not come up within two minutes")


@pytest.mark.flow
@pytest.mark.slow
def test_cron_schedule_creates_a_run(scheduling_server, tmp_path):
    script = tmp_path / "probe.py"
    script.write_text(CRON_PROBE)
    probe = subprocess.run(
        [sys.executable, str(script)], env=scheduling_server, capture_output=True, text=True, timeout=200
    )
    state, _, moment = probe.stdout.strip().partition(" ")
    assert state == "SCHEDULED", probe.stderr
    assert datetime.fromisoformat(moment).minute % 5 == 0
    assert datetime.fromisoformat(moment) < datetime.now(UTC) + timedelta(minutes=6)
