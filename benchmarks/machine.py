"""What a page's figures were measured on, and of what code, in one sentence."""

import os
import platform
import time
from collections.abc import Iterable
from importlib.metadata import version

import numpy as np
from threadpoolctl import threadpool_limits

from creditflow.version import code_version

# A product of square matrices: large enough that the processor is what it waits for, 2 · SIDE³ operations.
SIDE = 1024
TRIES = 7


def machine(packages: Iterable[str]) -> str:
    """Architecture, processors and their speed, Python, these packages, and the code, without a full stop.

    Names of processors tell little in a cloud; their speed makes pages of two machines comparable.
    """
    return (
        f"{platform.machine()}, {os.cpu_count()} processors, one of which multiplies float32 matrices at "
        f"{speed():.0f} GFLOP/s; Python {platform.python_version()}; "
        + ", ".join(f"{name} {version(name)}" for name in packages)
        + f"; code {code_version()}"
    )


def speed() -> float:
    """10⁹ operations a second of one processor in products of float32 matrices, the best of some tries."""
    matrix = np.random.default_rng(0).random((SIDE, SIDE), dtype=np.float32)
    with threadpool_limits(1):
        return 2 * SIDE**3 / min(_seconds(matrix) for _ in range(TRIES)) / 1e9


def _seconds(matrix: np.ndarray) -> float:
    started = time.perf_counter()
    matrix @ matrix
    return time.perf_counter() - started
