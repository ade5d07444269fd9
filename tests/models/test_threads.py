"""Work on blocks of rows by several threads."""

import threading

import pytest

from models import threads
from models.threads import in_threads


@pytest.fixture(autouse=True)
def two_processors(monkeypatch):
    monkeypatch.setattr(threads, "_processors", lambda: 2)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 20])
def test_results_come_in_the_order_of_the_parts(count):
    assert list(in_threads(lambda part: part * 2, range(count))) == [2 * part for part in range(count)]


def test_parts_are_taken_as_results_are():
    taken = []

    def parts():
        for part in range(10):
            taken.append(part)
            yield part

    results = in_threads(lambda part: part, parts())
    assert next(results) == 0
    assert taken == [0, 1, 2, 3]


def test_a_worker_does_itself_what_it_hands_out():
    def outer(part):
        return threading.get_ident(), set(in_threads(lambda _: threading.get_ident(), range(4)))

    for worker, inner in in_threads(outer, range(3)):
        assert worker != threading.get_ident()
        assert inner == {worker}


def test_one_processor_needs_no_thread(monkeypatch):
    monkeypatch.setattr(threads, "_processors", lambda: 1)
    assert set(in_threads(lambda _: threading.get_ident(), range(3))) == {threading.get_ident()}


def test_an_error_is_raised_where_the_result_is_taken():
    def broken(part):
        if part == 1:
            raise RuntimeError("second part")
        return part

    results = in_threads(broken, range(5))
    assert next(results) == 0
    with pytest.raises(RuntimeError, match="second part"):
        list(results)
