"""`creditflow deploy`: registers prefect.yaml's deployments with a Prefect server, for its workers to run."""

import os
import subprocess
import sys
from pathlib import Path

from creditflow.errors import ServerUnreachable, UsageError
from flows.serve import reach
from flows.settings import Settings

CHECKOUT = Path(__file__).resolve().parent.parent
FILE = CHECKOUT / "prefect.yaml"
POOL = "creditflow"
NAMES = ("monthly", "backfill", "study")


def deploy(settings: Settings) -> list[str]:
    """Makes the work pool where it is absent and registers every deployment.

    Returns:
        What was done and what to start next, one line each.

    Raises:
        UsageError: PREFECT_API_URL names no server, or prefect.yaml is not there.
        ServerUnreachable: the server does not answer, or refuses a deployment.
    """
    server = os.environ.get("PREFECT_API_URL", "")
    if not server:
        raise UsageError(
            "PREFECT_API_URL",
            expected="the address of a Prefect server",
            found="none",
            remedy="Set it, such as http://127.0.0.1:4200/api; without a server: creditflow serve.",
        )
    if not FILE.is_file():
        raise UsageError(
            str(FILE), expected="the deployments", found="no file", remedy="Deploy from a checkout."
        )
    reach(server)
    _make_pool()
    _register(server, settings)
    return [
        f"registered {', '.join(NAMES)} with {server}",
        f"monthly: day {settings.schedule_day}, hour {settings.schedule_hour}, time zone "
        f"{settings.schedule_timezone}",
        f"start a worker where {settings.home} lies: prefect worker start --pool {POOL} --limit 1",
    ]


def _make_pool() -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    # One run at a time over all deployments, however many workers there are.
    wanted = WorkPoolCreate(name=POOL, type="process", concurrency_limit=1)
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(wanted)
        except ObjectAlreadyExists:
            return


def _register(server: str, settings: Settings) -> None:
    asked = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(FILE)]
    done = subprocess.run(  # noqa: S603
        asked, cwd=CHECKOUT, env=os.environ | templated(settings), capture_output=True, text=True
    )
    if done.returncode:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise ServerUnreachable(
            server,
            expected="a server that takes the deployments",
            found=lines[-1] if lines else f"exit code {done.returncode}",
            remedy=f"Check that it is of the version in {FILE.name}.",
        )


def templated(settings: Settings) -> dict[str, str]:
    """What prefect.yaml leaves open."""
    return {
        "CREDITFLOW_CODE": str(CHECKOUT),
        "CREDITFLOW_SCHEDULE_DAY": str(settings.schedule_day),
        "CREDITFLOW_SCHEDULE_HOUR": str(settings.schedule_hour),
        "CREDITFLOW_SCHEDULE_TIMEZONE": settings.schedule_timezone,
    }
