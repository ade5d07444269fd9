"""Keeps a home in another folder, and puts it back: `creditflow backup`, `creditflow restore`.

A backup is a folder of plain files with a manifest of SHA-256 sums. It is built in a hidden sibling and gets
its name last, so a folder with a backup's name is whole. Every file is a copy of its own: a hard link would
share its damage. A restore checks every sum, builds beside what is there, and then swaps; a swap that a kill
cut short is finished by the next command that takes the home's lock.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from rich.filesize import decimal

from creditflow import __version__
from creditflow.disk import to_disk
from creditflow.errors import (
    BackupCorrupt,
    BackupUnusable,
    CreditflowError,
    FileUnreadable,
    HomeOccupied,
    HomeUnusable,
    WarehouseNewer,
)
from sql.warehouse import applied_migrations, execute, open_warehouse, unknown_migrations
from tasks.home import KEPT, Home, Swap, locked, staged, unusable

MANIFEST = "manifest.json"
FORMAT = 1
_CHUNK = 1 << 20
_ATTEMPTS = 3

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Kept:
    """One file of a backup; `path` is relative to the home, with slashes."""

    path: str
    bytes: int
    sha256: str
    mtime_ns: int


@dataclass(frozen=True)
class Manifest:
    """What a backup holds, and of what state of which home."""

    creditflow: str
    made_at: str
    home: str
    migrations: tuple[str, ...]
    months: tuple[str, ...]
    files: tuple[Kept, ...]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True)
class Backup:
    """A backup on disk. `seconds` is how long it took to make or to check."""

    folder: Path
    manifest: Manifest
    seconds: float


@dataclass(frozen=True)
class Restored:
    """A restore that is done. `aside` is where the home's earlier content lies, if there was any."""

    manifest: Manifest
    aside: Path | None
    seconds: float


def _silent(_what: str, _done: int, _total: int) -> None: ...


# ── Backup ──────────────────────────────────────────────────────────────────────────────────────


def back_up(home: Home, folder: Path, wait_seconds: float, progress: Progress = _silent) -> Backup:
    """Writes `folder/creditflow-YYYYMMDDTHHMMSSZ`, whole or not at all. Blocks runs, but no reader.

    Raises:
        BackupUnusable: the folder lies inside the home, or is full, read-only or not permitted.
        HomeUnusable: there is nothing to keep.
        HomeLocked: a run is going on.
        FileUnreadable: a file of the inbox is still being written, or is neither a file nor a folder.
    """
    started = time.perf_counter()
    _refuse_inside(home, folder)
    _refuse_nothing(home)
    with locked(home, "the backup", wait_seconds):
        migrations, months = _checkpoint(home.warehouse)
        paths = [path for part in KEPT for path in _files(home.root / part)]
        with _writing(folder):
            _require_space(folder, sum(path.stat().st_size for path in paths))
            building = _begin(home, folder)
            try:
                files = _copy_all(home.root, paths, building, progress)
                about = Manifest(__version__, _moment(), str(home.root), migrations, months, files)
                _write_manifest(building / MANIFEST, about)
                target = _put_in_place(building, folder)
            except BaseException:
                shutil.rmtree(building, ignore_errors=True)
                raise
    return Backup(target, about, time.perf_counter() - started)


def _refuse_inside(home: Home, folder: Path) -> None:
    if folder.resolve().is_relative_to(home.root.resolve()):
        raise BackupUnusable(
            str(folder),
            expected="a folder outside of the home",
            found=f"one inside {home.root}",
            remedy="Name one on another disk: what destroys the home would destroy the backup.",
        )


def _refuse_nothing(home: Home) -> None:
    if not occupied(home):
        raise HomeUnusable(
            str(home.root),
            expected="a home with a database or files in its inbox",
            found="nothing to keep",
            remedy="Point CREDITFLOW_HOME at the home to be kept.",
        )


def occupied(home: Home) -> bool:
    """Whether the home holds anything that a backup would keep."""
    return any(True for part in KEPT for _ in _files(home.root / part))


def _checkpoint(warehouse: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Brings the write-ahead log into the file; returns migrations and months.

    A database of an earlier version stays so.
    """
    if not warehouse.is_file():
        return (), ()
    with open_warehouse(warehouse, as_it_is=True) as con:
        con.execute("CHECKPOINT")
        months = tuple(month for (month,) in execute(con, "loaded_months"))
        return tuple(applied_migrations(con)), months


def _files(part: Path) -> Iterator[Path]:
    """The files of one part, in order; hidden ones are what runs and deliveries have under way.

    Raises:
        FileUnreadable: something is neither a file nor a folder.
    """
    if part.is_file():
        yield part
        return
    for path in sorted(part.iterdir()) if part.is_dir() else ():
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        elif path.is_file():
            yield path
        else:
            raise FileUnreadable(
                str(path),
                expected="a file or a folder",
                found="a link that leads to no file, or a device",
                remedy="Move it away: a backup that leaves something out in silence is none.",
            )


def _begin(home: Home, folder: Path) -> Path:
    """An empty hidden folder to build in. Those that killed backups of this home left are removed."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The home's lock is held, so whatever bears its mark is of a process that is gone.
    mark = hashlib.sha256(str(home.root.resolve()).encode()).hexdigest()[:8]
    building = folder / f".creditflow-{mark}.building"
    if building.exists():
        shutil.rmtree(building)
    building.mkdir(mode=0o700)
    return building


def _put_in_place(building: Path, folder: Path) -> Path:
    for path in (building, *(p for p in building.rglob("*") if p.is_dir())):
        to_disk(path)
    target = folder / f"creditflow-{_moment()}"
    while target.exists():
        # The name is the second; another home's backup may have taken this one.
        time.sleep(0.1)
        target = folder / f"creditflow-{_moment()}"
    building.rename(target)
    to_disk(folder)
    return target


def _write_manifest(path: Path, about: Manifest) -> None:
    content = {"format": FORMAT} | asdict(about)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(json.dumps(content | {"sum": _sum(content)}, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _sum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _moment() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


# ── Copying ─────────────────────────────────────────────────────────────────────────────────────


def _copy_all(root: Path, paths: Sequence[Path], target: Path, progress: Progress) -> tuple[Kept, ...]:
    kept: list[Kept] = []
    for number, path in enumerate(paths):
        progress(path.name, number, len(paths))
        name = path.relative_to(root)
        (target / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept.append(_copy_settled(path, target / name, name.as_posix()))
    return tuple(kept)


def _copy_settled(source: Path, target: Path, name: str) -> Kept:
    """Copies a file that nobody changes meanwhile; files arrive in the inbox when they like.

    Raises:
        FileUnreadable: it changed during every attempt.
    """
    for _ in range(_ATTEMPTS):
        before = source.stat()
        size, sha256 = copy(source, target, 0o600)
        after = source.stat()
        if (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, size):
            os.utime(target, ns=(after.st_mtime_ns, after.st_mtime_ns))
            return Kept(name, size, sha256, after.st_mtime_ns)
    raise FileUnreadable(
        str(source),
        expected="a file that nobody is writing",
        found="one that changed while it was copied",
        remedy="Wait until it is complete, then back up again.",
    )


def copy(source: Path, target: Path, mode: int) -> tuple[int, str]:
    """Copies a file through to the disk; returns the bytes copied and their SHA-256."""
    digest, size = hashlib.sha256(), 0
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with source.open("rb") as reader, os.fdopen(handle, "wb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            size += writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return size, digest.hexdigest()


def _require_space(folder: Path, needed: int) -> None:
    """Says that a disk is too small before an hour is spent on filling it."""
    there = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise BackupUnusable(
            str(folder),
            expected=f"{decimal(needed)} of free space",
            found=decimal(free),
            remedy="Free space there, or name another folder. Nothing was written.",
        )


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupUnusable(
            str(error.filename or folder),
            expected="a writable folder with space left",
            found=error.strerror or str(error),
            remedy="Free space, correct the permissions, or name another folder. No backup was left there.",
        ) from error


def in_words(about: Manifest) -> str:
    """What a backup holds, for one line."""
    months = f", months {about.months[0]} to {about.months[-1]}" if about.months else ", no month"
    files = f"{len(about.files):,} file{'' if len(about.files) == 1 else 's'}"
    return f"{files} of {decimal(about.bytes)}{months}"


# ── Checking ────────────────────────────────────────────────────────────────────────────────────


def check(folder: Path, progress: Progress = _silent) -> Backup:
    """Holds every file of a backup against its sum.

    Raises:
        BackupCorrupt: no manifest, a file missing, changed or additional, or a name that leads elsewhere.
        WarehouseNewer: a newer creditflow made it.
    """
    started = time.perf_counter()
    about = _read_manifest(folder)
    _require_names(folder, about)
    for number, file in enumerate(about.files):
        progress(PurePosixPath(file.path).name, number, len(about.files))
        _require_sum(folder / file.path, file)
    return Backup(folder, about, time.perf_counter() - started)


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text("ascii"))
        stated, form = content.pop("sum"), content.pop("format")
        if form > FORMAT:
            raise _newer(path, f"format {form}")
        if stated != _sum({"format": form} | content):
            raise _corrupt(path, "one whose own sum does not match")
        content["files"] = [Kept(**file) for file in content["files"]]
        lists = ("migrations", "months", "files")
        about = Manifest(**content | {name: tuple(content[name]) for name in lists})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _corrupt(path, "none" if isinstance(error, FileNotFoundError) else str(error)) from error
    unknown = unknown_migrations(about.migrations)
    if unknown:
        raise _newer(path, f"migrations {', '.join(sorted(unknown))}")
    return about


def _newer(path: Path, found: str) -> WarehouseNewer:
    return WarehouseNewer(
        str(path),
        expected="a backup that this creditflow knows",
        found=f"{found} of a newer one",
        remedy="Restore it with the creditflow that made it, or a newer one.",
    )


def _corrupt(path: Path, found: str, expected: str = "the manifest of a whole backup") -> BackupCorrupt:
    return BackupCorrupt(
        str(path),
        expected=expected,
        found=found,
        remedy="Take another backup; the home is as it was.",
    )


def _require_names(folder: Path, about: Manifest) -> None:
    """The backup holds the files of its manifest and no other, and none leads out of it."""
    named = [file.path for file in about.files]
    for name in named:
        _require_inside(folder, name)
    if len(set(named)) != len(named):
        raise _corrupt(folder / MANIFEST, "a file named twice")
    found = {path.relative_to(folder).as_posix() for path in _walk(folder)}
    missing, added = sorted(set(named) - found), sorted(found - set(named) - {MANIFEST})
    if missing or added:
        what = "missing" if missing else "one that no backup put there"
        raise _corrupt(folder / (missing or added)[0], what, "exactly the files of the manifest")


def _require_inside(folder: Path, name: object) -> None:
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    odd = not parts or name != "/".join(parts) or "\0" in str(name)
    if odd or {"..", "."} & set(parts) or parts[0] not in KEPT:
        raise _corrupt(folder / MANIFEST, repr(name), "names of files in the home")


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise _corrupt(path, "a link or a device", "plain files")
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path


def _require_sum(path: Path, file: Kept) -> None:
    try:
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _corrupt(path, error.strerror or str(error), "a readable file") from error
    if sha256 != file.sha256:
        raise _corrupt(path, f"sum {sha256[:12]}…", f"sum {file.sha256[:12]}…")


# ── Restore ─────────────────────────────────────────────────────────────────────────────────────


def restore(
    home: Home, folder: Path, wait_seconds: float, *, replace: bool, progress: Progress = _silent
) -> Restored:
    """Puts a backup in place of what the home holds; the latter is kept in a folder of the home.

    Raises:
        BackupCorrupt: see `check`; the home is as it was.
        WarehouseNewer: a newer creditflow made it.
        HomeOccupied: the home is not empty, and `replace` was not asked for.
        HomeUnusable: the home's disk is full or read-only, or a part of it is a mount or a link.
        HomeLocked: a run is going on.
    """
    started = time.perf_counter()
    about = check(folder, progress).manifest
    with locked(home, "the restore", wait_seconds):
        _require_room(home, replace)
        try:
            _stage(home, folder, about, staged(home), progress)
            _settle_log(home.warehouse)
        except BaseException as error:
            shutil.rmtree(staged(home), ignore_errors=True)
            if isinstance(error, OSError):
                raise unusable(home.root, error) from error
            raise
        aside = Swap.begin(home).finish()
    return Restored(about, aside, time.perf_counter() - started)


def _require_room(home: Home, replace: bool) -> None:
    if occupied(home) and not replace:
        raise HomeOccupied(
            str(home.root),
            expected="an empty home",
            found="one with a database, artifacts, reports or files in its inbox",
            remedy="Point CREDITFLOW_HOME at a new folder, or add --replace: what is there is kept aside.",
        )
    for path in (home.root / part for part in KEPT):
        if path.is_symlink() or os.path.ismount(path):
            raise HomeUnusable(
                str(path),
                expected="a file or folder that can be renamed",
                found="a link or a mount",
                remedy="Restore into a home without one, then move its content there.",
            )


def _stage(home: Home, folder: Path, about: Manifest, building: Path, progress: Progress) -> None:
    """Builds the restored home beside the one in force, and opens its database once."""
    free = shutil.disk_usage(home.root).free
    if free < about.bytes:
        raise HomeUnusable(
            str(home.root),
            expected=f"{decimal(about.bytes)} of free space",
            found=decimal(free),
            remedy="Free space; nothing was changed.",
        )
    for part in KEPT[:-1]:
        (building / part).mkdir(parents=True)
    for number, file in enumerate(about.files):
        progress(PurePosixPath(file.path).name, number, len(about.files))
        target = building / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if copy(folder / file.path, target, 0o666) != (file.bytes, file.sha256):
            raise _corrupt(folder / file.path, "one that changed while it was restored", "a file at rest")
        os.utime(target, ns=(file.mtime_ns, file.mtime_ns))
    _checkpoint(building / home.warehouse.name)
    for path in (building, *(p for p in building.rglob("*") if p.is_dir())):
        to_disk(path)


def _settle_log(warehouse: Path) -> None:
    """The database that gives way is put aside without a log of its own, if it can be opened at all."""
    with suppress(CreditflowError):
        _checkpoint(warehouse)
