"""What a page's figures were measured on, and of what code, in one sentence."""

import os
import platform
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import numpy as np
from threadpoolctl import threadpool_limits

from creditflow.version import code_version

# A product of square matrices: large enough that the processor is what it waits for, 2 · SIDE³ operations.
SIDE = 1024
TRIES = 7


def machine(packages: Iterable[str]) -> str:
    """Architecture, processors and their speed, Python, these packages, and the code, without a full stop.

    Names of processors tell little in a cloud; their speed makes pages of two machines comparable. Processors
    that share a core multiply together no faster than one of them alone.
    """
    processors = os.cpu_count() or 1
    return (
        f"{platform.machine()}, {processors} processors, one of which multiplies float32 matrices at "
        f"{speed(1):.0f} GFLOP/s, and all at once at {speed(processors):.0f}; "
        f"Python {platform.python_version()}; "
        + ", ".join(f"{name} {version(name)}" for name in packages)
        + f"; code {code_version()}"
    )


def speed(processors: int) -> float:
    """10⁹ operations a second in products of float32 matrices, one on each processor; the best try."""
    matrix = np.random.default_rng(0).random((SIDE, SIDE), dtype=np.float32)
    with threadpool_limits(1), ThreadPoolExecutor(processors) as pool:
        seconds = min(_seconds(pool, [matrix] * processors) for _ in range(TRIES))
    return processors * 2 * SIDE**3 / seconds / 1e9


def _seconds(pool: ThreadPoolExecutor, matrices: list[np.ndarray]) -> float:
    started = time.perf_counter()
    list(pool.map(_squared, matrices))
    return time.perf_counter() - started


def _squared(matrix: np.ndarray) -> np.ndarray:
    return matrix @ matrix
