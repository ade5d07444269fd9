"""The arithmetic behind docs/many-machines.md; the measuring itself needs a cluster and minutes."""

import importlib
import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        before = dict(os.environ)
        yield importlib.import_module("partitions")
        os.environ.clear()
        os.environ.update(before)


def entry(worker, rows, seconds, name="p", rss=2**30):
    return {
        "partition": name,
        "worker": worker,
        "rows_in": rows,
        "seconds": seconds,
        "processor_seconds": seconds,
        "peak_rss_bytes": rss,
        "bytes_in": 40 * rows,
        "bytes_out": 100 * rows,
    }


def run(bench, rows, count, driver, pause=0.0):
    """A worker that takes 8 s for its models, 0.1 s for a partition and 20 µs for a client."""
    entries = [entry("a", rows, 0.1 + 20e-6 * rows + 8 * (number == 0)) for number in range(count)]
    return bench.Measured(1, 60.0, driver, pause, entries)


def test_rates_are_found_again(bench):
    runs = run(bench, 10**6, 1, 2.0), run(bench, 250_000, 4, 2.2), run(bench, 2_000, 21, 4.0, 0.05)
    found = bench.rates(*runs)
    assert (found.row, found.partition) == (pytest.approx(20e-6), pytest.approx(0.1))
    assert (found.driver, found.pause) == (pytest.approx(4.0 / 21), 0.05)
    assert (found.bytes_in, found.bytes_out, found.memory) == (40, 100, 2**30)
    assert found.models == pytest.approx(8.14)


def test_the_first_partition_of_each_worker_is_left_out_of_rates(bench):
    entries = [entry("a", 10, 9.0), entry("a", 10, 1.0), entry("b", 10, 1.5), entry("b", 10, 8.0)]
    warm = bench.Measured(2, 10, 1, 0, entries).warm
    assert sorted(e["seconds"] for e in warm) == [1.0, 1.5]


def test_pause_lies_between_the_partitions_of_one_worker(bench):
    entries = [
        entry("a", 1, 2.0, "p1"),
        entry("a", 1, 1.0, "p2"),
        entry("a", 1, 1.0, "p3"),
        entry("b", 1, 1.0, "p4"),
    ]
    ends = {"p1": 2.0, "p2": 3.2, "p3": 4.6, "p4": 1.0}
    assert bench.pause_between(entries, ends) == pytest.approx(0.3)
    assert bench.pause_between(entries[-1:], ends) == 0


# 1,000 partitions of 20 s are 5.56 processor-hours; in an hour less 10 s a worker does 179 of them.
def test_plan_follows_from_the_rates(bench):
    found = bench.Rates(19e-6, 0.9, 0.1, 10, 0.06, 40, 100, 2**30)
    text = "\n".join(bench.plan(found, 0.05, 7))
    assert "| partitions | 1,000 of 1,000,000 clients |" in text
    assert "| storage in | 40 GB |" in text
    assert "| storage out | 100 GB |" in text
    assert "20.0 s on one processor, 5.00 % of it whatever its size" in text
    assert "| work | 5.6 processor-hours |" in text
    assert "| driver and scheduler | 1.0 minutes of another processor" in text
    assert "5.6 × 0.05 = 0.28" in text
    assert "| 1 | 6 | 179 | 12.0 | 30.0 | 6 |" in text


def test_the_page_in_docs_is_the_commands_own():
    text = (FOLDER.parent / "docs" / "many-machines.md").read_text("utf-8")
    assert "Written by `python benchmarks/partitions.py" in text
    assert "is killed (SIGKILL)" in text
    assert "every partition is the same, byte by byte" in text
