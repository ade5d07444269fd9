import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tasks.reports import beside
from tasks.reports.beside import draw, opened, receive, send
from tasks.reports.evidently_pages import Job, Whole

MONTH = "2005-05"
MIXED = pl.DataFrame({"pd": [0.1, 0.9, 0.4, 0.6] * 20, "defaulted": [0, 1, 1, 0] * 20})
FEW = MIXED.with_columns(defaulted=pl.lit(0))


def job(path, current=MIXED, kind="performance"):
    return Job(kind, path, MONTH, current, MIXED, Whole(80, 80))


def gone(pid, seconds=10):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if (status := Path(f"/proc/{pid}/stat")).exists() and ") Z " in status.read_text():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(("reference", "earlier"), [(MIXED, None), (None, "earlier.html")])
def test_line_carries_a_job_as_it_is(tmp_path, reference, earlier):
    line = io.BytesIO()
    before = earlier and tmp_path / earlier
    sent = Job("drift", tmp_path / "ü.html", MONTH, MIXED, reference, Whole(9, 8), before)
    send(line, sent)
    line.seek(0)
    got = receive(line)
    assert (got.kind, got.path, got.month, got.whole) == (sent.kind, sent.path, sent.month, sent.whole)
    assert got.earlier == before
    assert_frame_equal(got.current, MIXED)
    assert reference is None if got.reference is None else got.reference.equals(reference)
    assert receive(line) is None


@pytest.mark.slow
def test_page_is_the_one_that_is_drawn_here(tmp_path):
    here = draw(job(tmp_path / "here.html"))()
    with opened():
        pending = [draw(job(tmp_path / "there.html")), draw(job(tmp_path / "none.html", FEW))]
        there, none = (page() for page in pending)
        pid = beside._open[0]._process.pid
        # A fault of the disk is raised here, as if the page had been written here.
        lost = draw(job(tmp_path / "nowhere" / "page.html"))
        with pytest.raises(FileNotFoundError, match=r"nowhere/page\.html"):
            lost()
    assert there == here
    assert there.reason is None
    assert "every one of the 80 known outcomes is no default" in none.reason
    sizes = [(tmp_path / name).stat().st_size for name in ("here.html", "there.html")]
    assert abs(sizes[0] - sizes[1]) < 2000  # identifiers are drawn anew each time
    assert not (tmp_path / "none.html").exists()
    assert gone(pid)
    assert beside._open == []


def test_process_that_dies_is_told_of_and_the_next_page_has_another(tmp_path, monkeypatch):
    with opened():
        monkeypatch.setattr(sys, "executable", "/bin/false")
        page = draw(job(tmp_path / "page.html"))()
        assert page.reason == "Evidently's process ended before its time (exit code 1)"
        assert page.title == f"Classification performance of {MONTH}"
        monkeypatch.undo()
        assert "no default" in draw(job(tmp_path / "page.html", FEW))().reason


def test_inner_block_uses_the_process_of_the_outer_one():
    with opened():
        (outer,) = beside._open
        with opened():
            assert beside._open == [outer]
        assert beside._open == [outer]
        assert outer._process is None  # nothing was wanted, nothing was started


def test_process_ends_with_a_parent_that_is_killed():
    code = """import time
from tasks.reports import beside
with beside.opened():
    beside.warm_up()
    print(beside._open[0]._process.pid, flush=True)
    time.sleep(60)"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        pid = int(parent.stdout.readline())
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
    assert gone(pid, 30)


def test_answers_are_all_that_the_process_says_on_its_line(tmp_path):
    line = io.BytesIO()
    for name in ("one.html", "two.html"):
        send(line, job(tmp_path / name, FEW))
    said = subprocess.run(
        [sys.executable, "-m", "tasks.reports.beside"], input=line.getvalue(), capture_output=True, check=True
    )
    answers = [json.loads(text)["page"]["name"] for text in said.stdout.splitlines()]
    assert answers == ["performance", "performance"]
