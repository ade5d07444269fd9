"""Batches made in a thread of their own while the one before is worked on."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def one_ahead(batches: Iterable[T]) -> Iterator[T]:
    """The batches as they come; one more is in memory than would be without this.

    An error of the source is raised where its batch would have come. The source runs in one other thread from
    its first batch to its last, so that it may hold what only one thread may use.
    """
    source, end = iter(batches), object()
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        coming = pool.submit(next, source, end)
        while (batch := coming.result()) is not end:
            coming = pool.submit(next, source, end)
            yield batch  # type: ignore[misc]
