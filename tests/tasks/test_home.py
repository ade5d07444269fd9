import errno
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from creditflow.errors import HomeUnusable
from creditflow.month import Month
from tasks.home import Home, locked, unusable


def test_folders_are_made_and_work_is_emptied(tmp_path):
    home = Home(tmp_path / "new").prepare()
    assert home.inbox.is_dir()
    home.clear_work()
    (home.work / "left.parquet").write_bytes(b"x")
    home.clear_work()
    assert list(home.work.iterdir()) == []
    assert home.month_page(Month(2005, 4)) == tmp_path / "new/published/reports/2005-04/index.html"


def test_home_is_prepared_while_who_holds_the_lock_empties_the_scratch_space(tmp_path):
    home = Home(tmp_path).prepare()
    ended = threading.Event()

    def empty() -> None:
        while not ended.is_set():
            home.clear_work()

    with ThreadPoolExecutor(1) as holder:
        emptied = holder.submit(empty)
        try:
            for _ in range(500):
                home.prepare()
        finally:
            ended.set()
    assert emptied.result() is None


def test_home_that_is_a_file_is_unusable(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(HomeUnusable, match="CREDITFLOW_HOME"):
        Home(tmp_path / "file").prepare()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_disk_faults_are_named(tmp_path, number):
    import os

    error = unusable(tmp_path, OSError(number, os.strerror(number)))
    assert os.strerror(number) in str(error)
    assert str(tmp_path) in str(error)


def test_lock_says_who_holds_it_and_may_be_taken_again_by_the_same_process(tmp_path):
    home = Home(tmp_path)
    with locked(home, "the backfill", 0):
        with locked(home, "the run", 0):
            pass
        assert json.loads((tmp_path / ".lock.json").read_text())["what"] == "the backfill"
    assert not (tmp_path / ".lock.json").exists()


def test_empty_home_gets_no_digests_and_one_that_cannot_take_them_is_let_go(tmp_path):
    home = Home(tmp_path)
    with locked(home, "the run", 0):
        pass
    assert sorted(p.name for p in tmp_path.iterdir() if not p.is_dir()) == [".lock"]
    with pytest.raises(KeyError), locked(home, "the run", 0):
        home.digests.mkdir()
        (home.inbox / "clients_2026-01.csv").write_text("ID")
        raise KeyError
    with locked(home, "the next run", 0):
        pass


def test_leftovers_of_killed_processes_are_swept_by_the_next_that_takes_the_lock(tmp_path):
    home = Home(tmp_path).prepare()
    kept = [home.reports / "2026-01" / "index.html", home.artifacts / "v1" / "gbdt" / "manifest.json"]
    left = [
        home.work / "scores_2026-01.parquet",
        home.published.with_name(".creditflow.duckdb.99.new"),
        home.published.parent / "scores" / "month=2026-01" / ".scores.parquet.99.new",
        home.reports / ".building-2026-01" / "index.html",
        home.reports / ".building-index.html",
        home.reports / ".earlier-2026-01" / "index.html",
        home.artifacts / "v1" / ".gbdt.99.new" / "manifest.json",
        home.artifacts / "v1" / ".gbdt.99.old" / "manifest.json",
        tmp_path / ".restored" / "inbox" / "clients_2026-01.csv",
    ]
    for path in (*kept, *left):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("content")
    with locked(home, "the run", 0):
        assert not any(path.exists() for path in left)
        # The same process, once more: what it has under way is its own.
        (home.work / "mine.parquet").write_text("content")
        with locked(home, "the month of a backfill", 0):
            assert (home.work / "mine.parquet").exists()
    assert all(path.read_text() == "content" for path in kept)


def test_pack_whose_swap_was_cut_short_is_put_back(tmp_path):
    home = Home(tmp_path).prepare()
    (home.reports / ".earlier-2026-01").mkdir()
    (home.reports / ".earlier-2026-01" / "index.html").write_text("earlier")
    with locked(home, "the run", 0):
        assert home.month_page(Month(2026, 1)).read_text() == "earlier"
    assert [path.name for path in home.reports.iterdir()] == ["2026-01"]
