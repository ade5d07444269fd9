import gc
from collections.abc import Callable, Iterator

import pytest

from creditflow.imports import without_collector


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    was = gc.isenabled()
    yield
    (gc.enable if was else gc.disable)()
    gc.unfreeze()


@pytest.mark.parametrize("switch", [gc.enable, gc.disable])
def test_the_collector_pauses_and_is_as_it_was(switch: Callable[[], None]) -> None:
    switch()
    before = gc.isenabled()
    with without_collector():
        assert not gc.isenabled()
    assert gc.isenabled() is before


def test_what_was_imported_is_left_out_of_later_rounds() -> None:
    with without_collector():
        kept: list[object] = [[]]
    assert gc.get_freeze_count() > 0
    assert not any(found is kept for found in gc.get_objects())


def test_an_import_that_fails_leaves_the_collector_as_it_was() -> None:
    gc.enable()
    with pytest.raises(ImportError), without_collector():
        raise ImportError
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
