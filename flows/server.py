"""A Prefect server of one's own on loopback, which ends with the process that started it.

`python -m flows.server PORT` serves until its standard input is closed; a parent that is killed closes it.
"""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing, suppress
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout

from creditflow.errors import ServerUnreachable
from creditflow.imports import without_collector

START_SECONDS = 120
_END_SECONDS = 10
_SQLITE = "sqlite+aiosqlite:///"


class OwnServer:
    """The server's process, seen from the parent."""

    def __init__(self, folder: Path, *, brief: bool = False) -> None:
        """
        Args:
            folder: where the server keeps its SQLite database, its pages and its log.
            brief: for one command alone. It has no pages and no clock, and the database is the one that
                Prefect's own settings name.
        """
        self.folder = folder
        self.brief = brief
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._migrating: FileLock | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / ("run-server.log" if self.brief else "server.log")

    def start(self) -> "OwnServer":
        """Starts the process; `wait` says when it answers.

        Raises:
            ServerUnreachable: another process has been making the database for as long as a start may take.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._migrate_alone()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "flows.server", str(self.port)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                # Ctrl-C at the terminal is for the parent, which ends its server last.
                start_new_session=True,
                cwd=Path(__file__).resolve().parent.parent,
                env=os.environ | self._environment(),
            )
        return self

    def wait(self) -> None:
        """Returns once the server answers.

        Raises:
            ServerUnreachable: it ended, or does not answer in time.
        """
        try:
            self._wait()
        finally:
            self._let_others_migrate()

    def _wait(self) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self.alive:
            if answers(f"{self.url}/api"):
                remember_migrated(self._database())
                return
            time.sleep(0.05)
        raise self._unreachable("none" if self.alive else "a process that ended")

    def _unreachable(self, found: str) -> ServerUnreachable:
        return ServerUnreachable(
            f"the Prefect server of {self.folder}",
            expected=f"an answer within {START_SECONDS} s",
            found=found,
            remedy=f"See {self.log}.",
        )

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """Ends the process, by force where it does not end by itself."""
        self._let_others_migrate()
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()

    def _migrate_alone(self) -> None:
        """Waits for another process that makes the database; of two migrations at once one fails."""
        database = self._database()
        if database is None or is_migrated(database):
            return
        # Whoever starts the process may be another thread than the one that ends it.
        lock = FileLock(self.folder / ".migrating", timeout=START_SECONDS, thread_local=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise self._unreachable("another process that is still making its database") from error
        self._migrating = lock

    def _let_others_migrate(self) -> None:
        if self._migrating:
            self._migrating.release()
            self._migrating = None

    def _environment(self) -> dict[str, str]:
        common = {
            "PREFECT_API_DATABASE_MIGRATE_ON_START": "false" if is_migrated(self._database()) else "true",
            "PREFECT_API_URL": f"{self.url}/api",
            "PREFECT_SERVER_API_HOST": "127.0.0.1",
            "PREFECT_SERVER_API_PORT": str(self.port),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
        return common | (_BRIEF if self.brief else self._with_pages())

    def _database(self) -> Path | None:
        """The SQLite file that the server keeps; None where it keeps another database."""
        if not self.brief:
            return self.folder / "server.db"
        from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

        url = str(PREFECT_API_DATABASE_CONNECTION_URL.value())
        return Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else None

    def _with_pages(self) -> dict[str, str]:
        return {
            "PREFECT_API_DATABASE_CONNECTION_URL": f"{_SQLITE}{self.folder / 'server.db'}",
            "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(self.folder / "ui"),
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        }


# What only a server that stays needs. What writes down task runs and events stays on.
_BRIEF = {"PREFECT_SERVER_UI_ENABLED": "false"} | {
    f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false"
    for service in (
        "CANCELLATION_CLEANUP",
        "EVENT_LOGGER",
        "FOREMAN",
        "LATE_RUNS",
        "PAUSE_EXPIRATIONS",
        "REPOSSESSOR",
        "SCHEDULER",
        "TRIGGERS",
    )
}


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(api_url: str, seconds: float = 5) -> bool:
    """Whether a Prefect server answers at `api_url`."""
    try:
        with urllib.request.urlopen(f"{api_url}/health", timeout=seconds) as reply:  # noqa: S310
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


# ── Migrations ──────────────────────────────────────────────────────────────────────────────────


def is_migrated(database: Path | None) -> bool:
    """Whether the database has had the migrations of this Prefect: looking for more takes it a second.

    A server of this version left it at the revision at which it is now.
    """
    if database is None or (revision := _revision(database)) is None:
        return False
    with suppress(OSError):
        return _note(database).read_text() == _left_at(revision)
    return False


def remember_migrated(database: Path | None) -> None:
    """Notes at which revision a server that has just started keeps its database."""
    if database is not None and (revision := _revision(database)) is not None:
        # Without the note the next start looks for migrations, as the first one did.
        with suppress(OSError):
            _note(database).write_text(_left_at(revision))


def _note(database: Path) -> Path:
    return database.with_name(f"{database.name}.migrated")


def _left_at(revision: str) -> str:
    return f"prefect {version('prefect')}, revision {revision}\n"


def _revision(database: Path) -> str | None:
    """What Alembic noted in a SQLite database."""
    with suppress(sqlite3.Error), closing(_opened(database)) as con:
        rows = con.execute("SELECT version_num FROM alembic_version").fetchall()
        return str(rows[0][0]) if len(rows) == 1 else None
    return None


def _opened(database: Path) -> sqlite3.Connection:
    # Read-only: a file that is not there is not made.
    return sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)


# ── In the server's process ─────────────────────────────────────────────────────────────────────


def end_with_parent() -> None:
    """Blocks until standard input is closed, which is when the parent is gone; then ends the server."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_END_SECONDS)
    os._exit(1)


def main() -> None:
    """Serves on the port that is the first argument."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    _import()
    import uvicorn

    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="error",
        lifespan="on",
        # A page that is left open holds a websocket; the server does not wait for it.
        timeout_graceful_shutdown=3,
    )


def _import() -> None:
    """Imports what uvicorn would import."""
    with without_collector():
        import_module("prefect.server.api.server")


if __name__ == "__main__":
    main()
