"""Waits for a file that somebody may still be writing: nothing half written is read."""

import time
from collections.abc import Callable
from pathlib import Path

from creditflow.errors import FileUnsettled
from expectations.textfile import missing_file, unreadable

Look = tuple[int, int]

# How often, in units of the time to settle, a file is looked at before it is said to be still written.
LOOKS = 5


def look(path: Path) -> Look:
    """Size in bytes and time of the last write in nanoseconds.

    Raises:
        FileMissing, FileUnreadable: the file is gone, or the system does not let it be seen.
    """
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise missing_file(path) from error
    except OSError as error:
        raise unreadable(path, error) from error
    return found.st_size, found.st_mtime_ns


def settle(
    path: Path,
    seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], int] = time.time_ns,
) -> Path:
    """Returns once the file has stayed as it is for `seconds`; at once if its last write is as old as that.

    Args:
        clock: the present in nanoseconds since 1970.

    Raises:
        FileUnsettled: it still changes after several looks.
        FileMissing, FileUnreadable: as `look`.
    """
    seen = look(path)
    for _ in range(LOOKS if seconds > 0 else 0):
        pause = _rest(seen, seconds, clock())
        if pause <= 0:
            return path
        sleep(pause)
        before, seen = seen, look(path)
        if seen == before:
            return path
    if seconds > 0:
        raise unsettled(path)
    return path


def unsettled(path: Path) -> FileUnsettled:
    """The refusal for a file that changes while it is looked at."""
    return FileUnsettled(
        path.name,
        expected="a file that is complete",
        found="one that is still being written",
        remedy="Wait until it is written, then run again.",
    )


def _rest(seen: Look, seconds: float, now: int) -> float:
    """Seconds until the last write is old enough. A write in the future (another clock) waits in full."""
    age = (now - seen[1]) / 1e9
    return seconds - age if age >= 0 else seconds
