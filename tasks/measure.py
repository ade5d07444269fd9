"""Seconds and peak memory of a block of code, by light means: nothing is reset that others measure.

The operating system keeps the highest memory of the whole process alone. Where a block raises it, the block's
peak is that exact figure; else it is the highest of samples that a thread takes while blocks are open.
"""

import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.02
# macOS counts bytes where Linux counts KiB.
_UNIT = 1 if sys.platform == "darwin" else 1024
_PAGE = resource.getpagesize()
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Measured:
    """A block of code. `rows` is for the caller to fill; the figures are final at the block's end."""

    seconds: float = 0.0
    peak_rss_bytes: int = 0
    rows: int | None = None


def highest() -> int:
    """The highest memory that the process ever held resident, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


def resident() -> int | None:
    """The memory that it holds resident now, in bytes; None where the system has no /proc."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    return None


def age_seconds() -> float | None:
    """How long ago the process was started; None where the system has no /proc."""
    with suppress(OSError):
        # After the name, which may hold anything, in brackets: the 20th field, in ticks since the boot.
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / _TICKS
    return None


@contextmanager
def measured() -> Iterator[Measured]:
    """Measures the block, also one that fails; blocks may lie within each other."""
    found, before, started = Measured(), highest(), time.perf_counter()
    _sampler.watch(found)
    try:
        yield found
    finally:
        found.seconds = time.perf_counter() - started
        _sampler.leave(found)
        after = highest()
        if after > before or not found.peak_rss_bytes:
            found.peak_rss_bytes = max(after, found.peak_rss_bytes)


class _Sampler:
    """One thread for all open blocks; it lives while there are any."""

    def __init__(self) -> None:
        self._open: list[Measured] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def watch(self, found: Measured) -> None:
        with self._lock:
            self._open.append(found)
            if len(self._open) == 1 and resident() is not None:
                self._wake = threading.Event()
                threading.Thread(target=self._run, args=(self._wake,), name="memory", daemon=True).start()
        self._sample()

    def leave(self, found: Measured) -> None:
        self._sample()
        with self._lock:
            # By identity: two blocks that have measured nothing yet are equal.
            self._open = [other for other in self._open if other is not found]
            if not self._open:
                self._wake.set()

    def _sample(self) -> None:
        now = resident() or 0
        with self._lock:
            for found in self._open:
                found.peak_rss_bytes = max(found.peak_rss_bytes, now)

    def _run(self, ended: threading.Event) -> None:
        while not ended.wait(SAMPLE_SECONDS):
            self._sample()


_sampler = _Sampler()
