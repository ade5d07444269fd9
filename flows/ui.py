"""`creditflow ui`: brings Evidently's workspace up to date and serves it on loopback until ended.

The page is served by a process of its own (`python -m flows.ui FOLDER SOCKET [HOST …]`), which ends when its
standard input is closed: a parent that is killed closes it. It calls nobody, and its pages may not either.
"""

import errno
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creditflow.errors import MonthInvalid, ServerUnreachable, UsageError
from creditflow.month import Month, month_range
from flows.server import end_with_parent
from flows.settings import Settings
from tasks.home import Home

if TYPE_CHECKING:
    from litestar import Request

    from tasks.reports.workspace import Updated

PORT = 8000
START_SECONDS = 120
_END_SECONDS = 10
_POLL_SECONDS = 0.2


# ── The command ─────────────────────────────────────────────────────────────────────────────────


def ui(settings: Settings, months: tuple[str, str] | None, host: str, port: int, build_only: bool) -> None:
    """Brings the workspace up to date, then serves it until SIGTERM or SIGINT unless `build_only`.

    Raises:
        UsageError: `months` is no range, or `host` no address of this machine.
        ServerUnreachable: the port is taken or not permitted, or the page does not come up.
        CreditflowError: as in `tasks.reports.workspace.update_workspace`.
    """
    chosen = _range(months) if months else None
    if build_only:
        _update(settings, chosen)
        return
    # Before the work, so that a port that is taken is told of at once; and held, so that it stays free.
    with _bound(host, port) as listener:
        updated = _update(settings, chosen)
        _serve(updated, listener)


def _range(months: tuple[str, str]) -> list[Month]:
    try:
        first, last = (Month.parse(text) for text in months)
    except MonthInvalid as error:
        raise UsageError(
            "--months", expected=error.expected, found=error.found, remedy=error.remedy
        ) from error
    return list(month_range(first, last))


def _update(settings: Settings, months: list[Month] | None) -> "Updated":
    from flows import show
    from tasks.reports.workspace import Sampling, update_workspace

    with show.steps("snapshots") as step:
        updated = update_workspace(
            Home(settings.home),
            Sampling(settings.report_sample_rows, settings.seed),
            months=months,
            wait_seconds=settings.lock_wait_seconds,
            progress=step,
        )
    show.print_lines(_in_words(updated))
    return updated


def _in_words(updated: "Updated") -> list[str]:
    counts = f"{len(updated.made)} made, {updated.kept} unchanged, {updated.removed} removed"
    return [f"{updated.folder}: snapshots {counts}", *(f"left out: {why}" for why in updated.left_out)]


# ── The address ─────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that holds the address, and refuses until the page is served on it."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise _no_address(host, error) from error
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            raise _refused(host, port, error) from error
        yield listener


def _no_address(host: str, error: OSError) -> UsageError:
    return UsageError(
        "--host",
        expected="an address of this machine, such as 127.0.0.1",
        found=f"{host!r} ({error.strerror})",
        remedy="Leave it out to serve this machine alone.",
    )


def _refused(host: str, port: int, error: OSError) -> UsageError | ServerUnreachable:
    if error.errno == errno.EADDRNOTAVAIL:
        return _no_address(host, error)
    taken = error.errno == errno.EADDRINUSE
    return ServerUnreachable(
        f"port {port} of {host}",
        expected="a port that is free",
        found="one in use" if taken else (error.strerror or str(error)),
        remedy="Choose another: creditflow ui --port N.",
    )


def _url(listener: socket.socket) -> str:
    """Where a browser on this machine reaches the socket: an address that means all is none to go to."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://{address}:{port}" if address.version == 4 else f"http://[{address}]:{port}"


# ── Serving ─────────────────────────────────────────────────────────────────────────────────────


def _serve(updated: "Updated", listener: socket.socket) -> None:
    from flows import show

    url, log = _url(listener), updated.folder / "server.log"
    with _ended_by_signals() as asked, _page(updated.folder, listener, log) as process:
        _wait_for_page(url, process, log, asked)
        if not asked:
            show.print_lines([f"serving {url}/projects/{updated.project}   (Ctrl-C ends)"])
            sys.stdout.flush()
        while not asked and process.poll() is None:
            time.sleep(_POLL_SECONDS)
        if not asked:
            raise _not_served(log, f"a process that ended with code {process.returncode}")


@contextmanager
def _ended_by_signals() -> Iterator[list[int]]:
    """Collects SIGTERM and SIGINT instead of being ended by them."""
    asked: list[int] = []
    names = (signal.SIGTERM, signal.SIGINT)
    before = {name: signal.signal(name, lambda number, _: asked.append(number)) for name in names}
    try:
        yield asked
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


@contextmanager
def _page(folder: Path, listener: socket.socket, log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """The process that serves, ended at the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "flows.ui", str(folder), str(listener.fileno()), *_names(listener)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=(listener.fileno(),),
            # Ctrl-C at the terminal is for the parent.
            start_new_session=True,
            cwd=Path(__file__).resolve().parent.parent,
            # Evidently asks git for its own version where it is not told.
            env=os.environ | {"DO_NOT_TRACK": "1", "GIT_COMMIT": "-"},
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin:
            process.stdin.close()


def _names(listener: socket.socket) -> list[str]:
    """The names that a request may call this server by; none where it serves other machines too.

    A page of elsewhere whose name resolves to loopback would otherwise read it through a reader's browser.
    """
    if not ipaddress.ip_address(listener.getsockname()[0]).is_loopback:
        return []
    hosts = (_url(listener).removeprefix("http://"), f"localhost:{listener.getsockname()[1]}")
    # A browser leaves the port out where it is 80.
    return [*hosts, *(host.removesuffix(":80") for host in hosts if host.endswith(":80"))]


def _wait_for_page(url: str, process: "subprocess.Popen[bytes]", log: Path, asked: list[int]) -> None:
    until = time.monotonic() + START_SECONDS
    while not asked and not _answers(url, log):
        if process.poll() is not None:
            raise _not_served(log, f"a process that ended with code {process.returncode}")
        if time.monotonic() > until:
            raise _not_served(log, f"none within {START_SECONDS} s")
        time.sleep(_POLL_SECONDS)


def _answers(url: str, log: Path) -> bool:
    """Whether the page lists its projects, for which it reads every snapshot."""
    try:
        with urllib.request.urlopen(f"{url}/api/projects/", timeout=START_SECONDS):  # noqa: S310
            return True
    except urllib.error.HTTPError as error:
        raise _not_served(log, f"HTTP {error.code}") from error
    except (urllib.error.URLError, OSError):
        return False


def _not_served(log: Path, found: str) -> ServerUnreachable:
    return ServerUnreachable(
        "Evidently's page",
        expected="an answer",
        found=found,
        remedy=f"See {log}. The folder {log.parent} may be deleted: the next creditflow ui makes it anew.",
    )


# ── In the process that serves ──────────────────────────────────────────────────────────────────


# The one request that reads and is no GET: the points of a dashboard's panels.
_READS = "/data_series_batch"
# What a browser may fetch for these pages: nothing but what this server gives.
_ONLY_ITS_OWN = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'"


def application(folder: Path, names: list[str]) -> Any:
    """Evidently's ASGI application over a workspace, read-only and without telemetry.

    Args:
        folder: the workspace.
        names: hosts that a request may name; [] allows all.
    """
    from evidently.ui.service.components.base import AppBuilder
    from evidently.ui.service.components.dashboard import DashboardComponent
    from evidently.ui.service.components.storage import LocalStorageComponent
    from evidently.ui.service.components.telemetry import TelemetryComponent
    from evidently.ui.service.local_service import LocalConfig
    from litestar.datastructures import ResponseHeader

    config = LocalConfig(
        storage=LocalStorageComponent(path=str(folder)),
        dashboard=DashboardComponent(path=str(folder)),
        telemetry=TelemetryComponent(enabled=False),
    )
    with config.context() as context:
        builder = AppBuilder(context)
        context.apply(builder)
        policy = ResponseHeader(name="Content-Security-Policy", value=_ONLY_ITS_OWN)
        builder.kwargs |= {
            "allowed_hosts": names or None,
            "before_request": refuse_writing,
            "response_headers": [policy],
        }
        app = builder.build()
        context.finalize(app)
    return app


def refuse_writing(request: "Request[Any, Any, Any]") -> None:
    """Lets a request pass that reads.

    Raises:
        PermissionDeniedException: it would change, delete or add something; the page shows the words.
    """
    from litestar.exceptions import PermissionDeniedException

    if request.method not in ("GET", "HEAD") and not request.url.path.endswith(_READS):
        raise PermissionDeniedException(
            "creditflow ui shows what the database holds; nothing is changed here"
        )


def main() -> None:
    """Serves the workspace that is the first argument on the socket that is the second."""
    folder, descriptor, *names = sys.argv[1:]
    threading.Thread(target=end_with_parent, daemon=True).start()
    import uvicorn

    config = uvicorn.Config(
        application(Path(folder), names),
        log_level="warning",
        access_log=False,
        # A page that is left open holds a connection; the server does not wait for it.
        timeout_graceful_shutdown=3,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(descriptor))])


if __name__ == "__main__":
    main()
