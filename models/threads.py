"""One pool of threads for work on blocks of rows: numpy, torch and polars let others run meanwhile."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

WORKERS = 4
_here = threading.local()


def in_threads(function: Callable[[T], R], parts: Iterable[T]) -> Iterator[R]:
    """`function` of each part, in their order, by as many threads as there are processors, at most four.

    Parts are taken as results are: two more than there are threads are in memory, so that there is work while
    a result is used. Work that is handed out by one of these threads is done by that thread itself.
    """
    workers = min(_processors(), WORKERS)
    if workers < 2 or getattr(_here, "working", False):
        yield from map(function, parts)
        return
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers, "rows", initializer=_begin) as pool:
        for part in parts:
            waiting.append(pool.submit(function, part))
            if len(waiting) > workers + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _begin() -> None:
    import torch

    _here.working = True
    # Each thread computes for itself; a second layer of threads would only wait for the first.
    torch.set_num_threads(1)


def _processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
