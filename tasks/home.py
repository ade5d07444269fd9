"""Where things lie under CREDITFLOW_HOME, and the lock that lets one run write there at a time."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from creditflow.disk import to_disk
from creditflow.errors import HomeLocked, HomeUnusable
from creditflow.month import Month

# What a backup keeps and a restore replaces, the database last; the rest is scratch, locks and logs.
KEPT = ("inbox", "artifacts", "published", "warehouse.duckdb")
# What is under way beside its place until it is renamed into it.
_UNFINISHED = (".building-*", ".*.new", ".*.old")
_EARLIER = ".earlier-"


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
        """Scratch space of who holds the lock, made and emptied by `clear_work` alone."""
        return self.root / "work"

    @property
    def published(self) -> Path:
        return self.root / "published" / "creditflow.duckdb"

    @property
    def digests(self) -> Path:
        """The digests of files in the inbox that need not be read again; no backup keeps it."""
        return self.root / ".digests.json"

    @property
    def reports(self) -> Path:
        return self.root / "published" / "reports"

    def month_page(self, month: Month) -> Path:
        return self.reports / str(month) / "index.html"

    def prepare(self) -> "Home":
        """Creates the folders, with or without the lock.

        Raises:
            HomeUnusable: they cannot be created or written to.
        """
        try:
            for folder in (self.inbox, self.artifacts, self.reports):
                folder.mkdir(parents=True, exist_ok=True)
            _probe(self.root)
        except OSError as error:
            raise unusable(self.root, error) from error
        return self

    def clear_work(self) -> None:
        """Makes the scratch space, empty, and sweeps what killed runs left. The caller holds the lock."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True, exist_ok=True)
        _sweep(self)


def _probe(folder: Path) -> None:
    """Writes a file and removes it, at the top of the home: the scratch space may be going away just now."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        probe.write_bytes(b"creditflow")
    finally:
        probe.unlink(missing_ok=True)


def _sweep(home: Home) -> None:
    """Puts a folder back whose swap was cut short, and removes what was never renamed into place."""
    for earlier in home.reports.rglob(f"{_EARLIER}*"):
        target = earlier.with_name(earlier.name.removeprefix(_EARLIER))
        if not target.exists():
            earlier.rename(target)
        _remove(earlier)
    for root in (home.artifacts, home.published.parent):
        for pattern in _UNFINISHED:
            for left in sorted(root.rglob(pattern)):
                _remove(left)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


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
            finish_swap(home)
            # Nobody else is at work here, so what lies about is of a process that was killed.
            home.clear_work()
        yield
    finally:
        if lock.lock_counter == 1:
            # Only here: `creditflow sql` knows the home, and reads no file of the inbox.
            from expectations.digests import remember

            # Whoever reads the inbox to change the home holds the lock; who only looks writes nothing.
            remember(home.inbox, home.digests)
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


# ── Replacing a home ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Swap:
    """Puts what was built in `HOME/.restored` in place of what the home keeps.

    Several renames cannot be one, so the intent is written down first: from then on the swap is finished, by
    this process or by the next that takes the lock, and until then the home is as it was.

    Args:
        home: the home; its lock is held.
        aside: name of the folder in it that receives the earlier content.
        old: the names that exist when the swap begins.
    """

    home: Home
    aside: str
    old: tuple[str, ...]

    @classmethod
    def begin(cls, home: Home) -> "Swap":
        """Writes the intent down; there is no way back from here."""
        aside = _moment()
        while (home.root / aside).exists():
            time.sleep(0.1)
            aside = _moment()
        old = tuple(name for name in _SWAPPED if (home.root / name).exists())
        fresh = _intent(home).with_suffix(".new")
        with fresh.open("w") as file:
            file.write(json.dumps({"aside": aside, "old": old}))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(_intent(home))
        to_disk(home.root)
        return cls(home, aside, old)

    def finish(self) -> Path | None:
        """Renames everything that has not been renamed yet; returns where the earlier content lies, if any.

        Raises:
            HomeUnusable: the disk refuses; the next command that takes the lock tries again.
        """
        aside = self.home.root / self.aside
        try:
            aside.mkdir(mode=0o700, exist_ok=True)
            for name in _SWAPPED:
                self._replace(name, aside)
            to_disk(self.home.root)
            _intent(self.home).unlink()
            for leftover in (staged(self.home), self.home.warehouse.with_suffix(".tmp")):
                _remove(leftover)
            _remove_empty(aside)
            self.home.prepare().clear_work()
        except OSError as error:
            raise unusable(self.home.root, error) from error
        return aside if aside.exists() else None

    def _replace(self, name: str, aside: Path) -> None:
        live, built, kept = self.home.root / name, staged(self.home) / name, aside / name
        if name in self.old and not kept.exists():
            live.rename(kept)
        if not built.exists():
            return
        # Since a kill between these renames the place may have been taken again.
        _remove_empty(live)
        if live.exists():
            live.rename(aside / f"{name}.since")
        built.rename(live)


# The log first: beside a database that is not its own it would be applied to that.
_SWAPPED = (f"{KEPT[-1]}.wal", *KEPT)


def staged(home: Home) -> Path:
    """Where a restore builds the home that is to be."""
    return home.root / ".restored"


def _intent(home: Home) -> Path:
    return home.root / ".restored.json"


def _moment() -> str:
    return f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def _remove_empty(folder: Path) -> None:
    """Removes a folder and those in it that hold nothing, from the innermost on."""
    for path in (*sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True), folder):
        with suppress(OSError):
            path.rmdir()


def finish_swap(home: Home) -> None:
    """Finishes the swap that a killed restore began, or removes what it had only built.

    The caller holds the lock.
    """
    if _intent(home).exists():
        facts = json.loads(_intent(home).read_text())
        Swap(home, facts["aside"], tuple(facts["old"])).finish()
    else:
        _remove(staged(home))
