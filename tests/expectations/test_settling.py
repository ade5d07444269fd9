import os
import threading
import time

import pytest

from creditflow.errors import FileMissing, FileUnreadable, FileUnsettled
from expectations.settling import LOOKS, settle


class Watch:
    """A clock in nanoseconds, and a sleep that turns it and lets something happen."""

    def __init__(self, now, happens=lambda: None):
        self.now, self.happens, self.slept = now, happens, []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += int(seconds * 1e9)
        self.happens()

    def clock(self):
        return self.now


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "clients_2026-01.csv"
    path.write_text("ID\n1\n")
    os.utime(path, ns=(0, 10**18))
    return path


@pytest.mark.parametrize(
    ("age", "seconds", "slept"),
    [
        (2.0, 2, []),
        (1000, 2, []),
        (0.5, 0, []),
        (0.5, 2, [1.5]),
        (0, 2, [2]),
        # Written by a machine whose clock is ahead.
        (-3600, 2, [2]),
    ],
)
def test_waits_only_for_a_young_file(file, age, seconds, slept):
    watch = Watch(10**18 + int(age * 1e9))
    assert settle(file, seconds, watch.sleep, watch.clock) == file
    assert watch.slept == pytest.approx(slept)


def test_file_that_grows_for_a_while_is_waited_for(file):
    growth = iter([b"2\n", b"3\n"])

    def write():
        with file.open("ab") as stream:
            stream.write(next(growth, b""))
        os.utime(file, ns=(0, watch.now if len(watch.slept) <= 2 else watch.now - int(2e9)))

    watch = Watch(10**18, write)
    settle(file, 2, watch.sleep, watch.clock)
    assert file.read_text() == "ID\n1\n2\n3\n"
    assert len(watch.slept) == 3


@pytest.mark.parametrize("same_size", [True, False])
def test_file_that_never_rests_is_named(file, same_size):
    def write():
        if not same_size:
            file.write_text(file.read_text() + "x")
        os.utime(file, ns=(0, watch.now))

    watch = Watch(10**18, write)
    with pytest.raises(FileUnsettled, match=r"clients_2026-01\.csv: .*still being written"):
        settle(file, 2, watch.sleep, watch.clock)
    assert len(watch.slept) == LOOKS


def test_unsettled_file_is_an_unreadable_one():
    assert issubclass(FileUnsettled, FileUnreadable)


def test_file_that_goes_away_meanwhile_is_missing(file):
    watch = Watch(10**18, file.unlink)
    with pytest.raises(FileMissing):
        settle(file, 2, watch.sleep, watch.clock)


def test_writer_in_another_thread_is_waited_for(tmp_path):
    path = tmp_path / "clients_2026-01.csv"
    path.write_text("ID\n")

    def write():
        for row in range(5):
            with path.open("a") as stream:
                stream.write(f"{row}\n")
            time.sleep(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    settle(path, 0.3)
    assert path.read_text().splitlines() == ["ID", *map(str, range(5))]
    writer.join()
