import errno
import json

import pytest

from creditflow.errors import HomeUnusable
from creditflow.month import Month
from tasks.home import Home, locked, unusable


def test_folders_are_made_and_work_is_emptied(tmp_path):
    home = Home(tmp_path / "new").prepare()
    assert home.inbox.is_dir()
    (home.work / "left.parquet").write_bytes(b"x")
    home.clear_work()
    assert list(home.work.iterdir()) == []
    assert home.month_page(Month(2005, 4)) == tmp_path / "new/published/reports/2005-04/index.html"


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
