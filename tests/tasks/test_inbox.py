"""Deliveries are all or nothing, and leave no trace when they fail."""

import errno
import os
import subprocess
import sys

import pytest

from creditflow.errors import FileAmbiguous, HomeUnusable, UsageError
from creditflow.month import Month
from tasks.inbox import STUDY_HEADER, delivery

MAY = Month(2005, 5)


def text(content):
    return lambda path: path.write_text(content)


def listing(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_header_is_that_of_the_study():
    assert list(STUDY_HEADER.values())[:8] == [
        "ID", "LIMIT_BAL", "SEX", "EDUCATION", "MARRIAGE", "AGE", "PAY_0", "PAY_2",
    ]  # fmt: skip
    assert list(STUDY_HEADER.values())[-1] == "default payment next month"


def test_nothing_is_visible_before_all_is_written(tmp_path):
    with delivery(tmp_path / "inbox", overwrite=False) as files:
        files.add("clients", MAY, "csv", text("a"))
        assert not list((tmp_path / "inbox").glob("[!.]*"))
    assert listing(tmp_path / "inbox") == ["clients_2005-05.csv"]


def test_states_tell_new_unchanged_and_replaced(tmp_path):
    for content, overwrite, state in (
        ("a", False, "new"),
        ("a", False, "unchanged"),
        ("b", True, "replaced"),
    ):
        with delivery(tmp_path, overwrite=overwrite) as files:
            path = files.add("clients", MAY, "csv", text(content))
        assert files.states == {path: state}
        assert path.read_text() == content


def test_an_unchanged_file_is_not_touched(tmp_path):
    for _ in range(2):
        with delivery(tmp_path, overwrite=False) as files:
            path = files.add("clients", MAY, "csv", text("a"))
        os.utime(path, ns=(1, 1)) if files.states[path] == "new" else None
    assert path.stat().st_mtime_ns == 1


def deliver(inbox, **writers):
    """Delivers one file a keyword: clients_5=… is the client file of May 2005."""
    with delivery(inbox, overwrite=False) as files:
        for name, write in writers.items():
            kind, _, number = name.partition("_")
            files.add(kind, Month(2005, int(number)), "csv", write)


def test_other_content_is_refused_and_nothing_else_arrives(tmp_path):
    (tmp_path / "clients_2005-06.csv").write_text("other")
    with pytest.raises(UsageError, match=r"found one with other content. Add --overwrite"):
        deliver(tmp_path, clients_5=text("a"), clients_6=text("a"))
    assert listing(tmp_path) == ["clients_2005-06.csv"]
    assert (tmp_path / "clients_2005-06.csv").read_text() == "other"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_format_for_a_month_is_refused(tmp_path, overwrite):
    (tmp_path / "clients_2005-05.parquet").write_bytes(b"x")
    with (
        pytest.raises(FileAmbiguous, match=r"clients_2005-05\.parquet"),
        delivery(tmp_path, overwrite=overwrite) as files,
    ):
        files.add("clients", MAY, "csv", text("a"))
    assert listing(tmp_path) == ["clients_2005-05.parquet"]


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    def full(path):
        path.write_text("half a fi")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with pytest.raises(HomeUnusable, match="No space left on device"):
        deliver(tmp_path, clients_5=text("a"), outcomes_5=full)
    assert listing(tmp_path) == []


def test_a_place_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(HomeUnusable, match=r"Not a directory|File exists"),
        delivery(tmp_path / "file" / "inbox", overwrite=False),
    ):
        pass


def test_what_a_killed_delivery_left_is_swept_and_a_living_one_is_not(tmp_path):
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    )
    for pid in (dead.stdout.strip(), str(os.getppid())):
        (tmp_path / f".delivery-{pid}").mkdir()
    with delivery(tmp_path, overwrite=False) as files:
        files.add("clients", MAY, "csv", text("a"))
    assert listing(tmp_path) == [f".delivery-{os.getppid()}", "clients_2005-05.csv"]
