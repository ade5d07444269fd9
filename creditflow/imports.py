"""Imports of what a process keeps for good."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """For a block of imports.

    The collector of cycles would go through all that is imported again and again and find nothing: a fifth of
    the time. What is imported stays for good, so later rounds leave it out.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if collecting:
            gc.enable()
