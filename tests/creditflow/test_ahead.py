"""Batches made one ahead."""

import threading

import pytest

from creditflow.ahead import one_ahead


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_every_batch_comes_once_and_in_order(count):
    assert list(one_ahead(range(count))) == list(range(count))


def test_none_is_a_batch_like_any_other():
    assert list(one_ahead([None, 1, None])) == [None, 1, None]


def test_the_next_batch_is_made_while_one_is_used_and_no_further_one():
    made = [threading.Event() for _ in range(3)]

    def batches():
        for number, event in enumerate(made):
            event.set()
            yield number

    taken = one_ahead(batches())
    assert next(taken) == 0
    # Without a thread of its own the second one would never be made here.
    assert made[1].wait(timeout=10)
    assert not made[2].wait(timeout=0.05)


def test_the_source_runs_in_one_other_thread():
    def batches():
        for _ in range(4):
            yield threading.get_ident()

    assert len(found := set(one_ahead(batches()))) == 1
    assert found != {threading.get_ident()}


def test_an_error_comes_where_its_batch_would_have_come():
    def batches():
        yield 1
        raise ValueError("second batch")

    taken = one_ahead(batches())
    assert next(taken) == 1
    with pytest.raises(ValueError, match="second batch"):
        next(taken)


def test_who_stops_early_waits_for_the_batch_that_is_being_made():
    made = []

    def batches():
        for number in range(100):
            made.append(number)
            yield number

    taken = one_ahead(batches())
    assert next(taken) == 0
    taken.close()
    assert made in ([0], [0, 1])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
