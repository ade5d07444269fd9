"""The SHA-256 of files that stay: read once, and remembered for as long as the file looks untouched.

As in git's index, a digest counts for one size, modification time, change time and inode of its file; no
program can set the change time. Between processes the digests of a folder lie in a small JSON file. It saves
time and nothing else: where it is missing, damaged or refuses to be written, files are read again.
"""

import hashlib
import json
import os
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from expectations.textfile import Fingerprint, raw_chunks

FORMAT = 1
# The coarsest clock of a file system in use (FAT): within a tick a file can change and look the same.
_TICK_NS = 2_000_000_000
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Stat:
    """What changes with a file's content. No device: its number may change when a disk is mounted again."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


_known: dict[tuple[Path, Stat], str] = {}


def fingerprint(path: Path) -> Fingerprint:
    """Digest and size of a file; one that has not changed since it was last read is not read again.

    Raises:
        FileMissing, FileUnreadable: the file is gone, or the system does not let it be read.
    """
    found = _stat(path)
    sha256 = _known.get((path.absolute(), found)) if found else None
    return Fingerprint(sha256, found.size) if found and sha256 else read_fingerprint(path)


def read_fingerprint(path: Path) -> Fingerprint:
    """The same, from the bytes that now lie there: for what is about to be loaded.

    Raises:
        FileMissing, FileUnreadable: the file is gone, or the system does not let it be read.
    """
    began, before = time.time_ns(), _stat(path)
    digest = hashlib.sha256()
    size = sum(len(chunk) for chunk in raw_chunks(path, digest))
    # A file so new may still be changed while it is read, without a trace in its times.
    if before and before == _stat(path) and began - max(before.mtime_ns, before.ctime_ns) > _TICK_NS:
        _known[path.absolute(), before] = digest.hexdigest()
    return Fingerprint(digest.hexdigest(), size)


def _stat(path: Path) -> Stat | None:
    try:
        found = path.stat()
    except OSError:
        return None  # Reading it tells what is the matter.
    return Stat(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


# --- between processes -------------------------------------------------------------------------------


def recall(folder: Path, store: Path) -> None:
    """Takes over what `store` says of the files in `folder`; `fingerprint` holds it against each file."""
    for name, (found, sha256) in _stored(store).items():
        _known.setdefault((folder.absolute() / name, found), sha256)


def remember(folder: Path, store: Path) -> None:
    """Writes to `store` what is known of the files that lie in `folder` now, where it does not say so yet.

    One process at a time. Never fails: the next process reads the files again, that is all.
    """
    with suppress(OSError):
        recall(folder, store)
        found = _known_in(folder)
        if found != _stored(store):
            files = {name: asdict(stat) | {"sha256": sha256} for name, (stat, sha256) in found.items()}
            _replace(store, json.dumps({"format": FORMAT, "files": files}, indent=1))


def _known_in(folder: Path) -> dict[str, tuple[Stat, str]]:
    looked = ((path, _stat(path)) for path in sorted(folder.absolute().iterdir()))
    return {
        path.name: (found, _known[path, found]) for path, found in looked if found and (path, found) in _known
    }


def _stored(store: Path) -> dict[str, tuple[Stat, str]]:
    try:
        told = json.loads(store.read_bytes())
        return {name: _checked(entry) for name, entry in told["files"].items() if told["format"] == FORMAT}
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {}  # Whatever this is, it was not written here: to believe half of it saves nothing.


def _checked(entry: Any) -> tuple[Stat, str]:
    numbers, sha256 = [entry[field.name] for field in fields(Stat)], entry["sha256"]
    if any(type(number) is not int for number in numbers) or not _SHA256.fullmatch(sha256):
        raise ValueError(entry)
    return Stat(*numbers), sha256


def _replace(store: Path, text: str) -> None:
    # Not forced to the disk: what a power cut leaves of it is whole, or is not used.
    fresh = store.with_name(f"{store.name}.new")
    fresh.unlink(missing_ok=True)  # What a kill left.
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        fresh.replace(store)
    finally:
        fresh.unlink(missing_ok=True)
