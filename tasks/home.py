"""Where things lie under CREDITFLOW_HOME, and the lock that lets one run write there at a time."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from creditflow.errors import HomeLocked, HomeUnusable
from creditflow.month import Month


@dataclass(frozen=True)
class Home:
    """The folders and files of one CREDITFLOW_HOME."""

    root: Path

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def warehouse(self) -> Path:
        return self.root / "warehouse.duckdb"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def work(self) -> Path:
        """Scratch space of the run in progress; emptied when a run starts."""
        return self.root / "work"

    @property
    def published(self) -> Path:
        return self.root / "published" / "creditflow.duckdb"

    @property
    def reports(self) -> Path:
        return self.root / "published" / "reports"

    def month_page(self, month: Month) -> Path:
        return self.reports / str(month) / "index.html"

    def prepare(self) -> "Home":
        """Creates the folders.

        Raises:
            HomeUnusable: they cannot be created or written to.
        """
        try:
            for folder in (self.inbox, self.artifacts, self.work, self.reports):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.work / f".probe-{os.getpid()}"
            probe.write_bytes(b"creditflow")
            probe.unlink()
        except OSError as error:
            raise unusable(self.root, error) from error
        return self

    def clear_work(self) -> None:
        """Empties the scratch space; only what a killed run left can be in it."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True, exist_ok=True)


def unusable(path: Path, error: OSError) -> HomeUnusable:
    """The error for a disk that is full, read-only, absent or not permitted."""
    return HomeUnusable(
        str(error.filename or path),
        expected="a writable folder with space left",
        found=error.strerror or str(error),
        remedy="Free space, correct the permissions, or point CREDITFLOW_HOME elsewhere; then run again.",
    )


@contextmanager
def locked(home: Home, what: str, wait_seconds: float) -> Iterator[None]:
    """Holds the home's lock; the same process may take it again (a backfill runs months inside).

    Raises:
        HomeLocked: another process still holds it after `wait_seconds`.
    """
    home.prepare()
    note = home.root / ".lock.json"
    lock = FileLock(home.root / ".lock", timeout=wait_seconds, is_singleton=True, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise _held(note, wait_seconds) from error
    try:
        if lock.lock_counter == 1:
            started = datetime.now(UTC).isoformat(timespec="seconds")
            note.write_text(json.dumps({"what": what, "pid": os.getpid(), "since": started}))
        yield
    finally:
        if lock.lock_counter == 1:
            note.unlink(missing_ok=True)
        lock.release()


def _held(note: Path, wait_seconds: float) -> HomeLocked:
    holder = "another run"
    with suppress(OSError, ValueError, KeyError):
        facts = json.loads(note.read_text())
        holder = f"{facts['what']} (process {facts['pid']}, since {facts['since']})"
    return HomeLocked(
        str(note.parent),
        expected="no other run on this home",
        found=f"{holder} still running after a wait of {wait_seconds:g} s",
        remedy="Wait for it to end, or raise CREDITFLOW_LOCK_WAIT_SECONDS.",
    )
