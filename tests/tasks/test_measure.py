import threading
import time

import numpy as np
import pytest

from tasks import measure
from tasks.measure import age_seconds, highest, measured, resident

MIB = 2**20
needs_proc = pytest.mark.skipif(resident() is None, reason="the system has no /proc")


def hold(mib, seconds=0.1):
    """Holds so much memory for a moment, in which samples are taken."""
    block = np.ones(mib * MIB // 8)
    time.sleep(seconds)
    return block.nbytes


@needs_proc
def test_peak_is_that_of_the_block_and_not_that_of_the_process_so_far():
    hold(400)
    with measured() as found:
        hold(100)
    grown = found.peak_rss_bytes - resident()
    assert 60 * MIB < grown < 200 * MIB
    assert found.seconds >= 0.1


@needs_proc
def test_a_peak_too_short_for_a_sample_counts_where_it_is_the_highest_ever(monkeypatch):
    monkeypatch.setattr(measure, "SAMPLE_SECONDS", 60)
    most = (highest() - resident()) // MIB + 200
    with measured() as found:
        hold(most, seconds=0)
    assert found.peak_rss_bytes >= highest() - MIB


@needs_proc
def test_blocks_lie_within_each_other():
    with measured() as outer:
        with measured() as inner:
            hold(50)
        with measured() as later:
            pass
    assert outer.seconds >= inner.seconds + later.seconds
    assert outer.peak_rss_bytes >= inner.peak_rss_bytes > later.peak_rss_bytes


def test_without_proc_the_process_peak_is_told(monkeypatch):
    monkeypatch.setattr(measure, "resident", lambda: None)
    with measured() as found:
        pass
    assert found.peak_rss_bytes == highest()


def test_a_block_that_fails_is_measured_and_no_thread_stays():
    with pytest.raises(ZeroDivisionError), measured() as found:
        time.sleep(0.01)
        raise ZeroDivisionError
    assert found.seconds >= 0.01
    assert found.peak_rss_bytes > 0
    until = time.monotonic() + 5
    while any(t.name == "memory" for t in threading.enumerate()) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(t.name == "memory" for t in threading.enumerate())


@needs_proc
def test_age_grows_with_the_clock():
    before = age_seconds()
    time.sleep(0.05)
    assert 0.04 < age_seconds() - before < 5
