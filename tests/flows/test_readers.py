"""Readers at every moment of a backfill, and two runs at once."""

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass

import pytest

from models.registry import MODELS
from tasks.home import Home

pytestmark = pytest.mark.flow


@dataclass(frozen=True)
class Month:
    """One row of the reader's question; see `processes.MONTHS`."""

    month: str
    accepted: int
    clients: int
    scores: int
    models: int
    drift: int
    runs: int

    def is_whole(self):
        """Every client is there, and either all scores and the drift or, before there is a model, none."""
        scored = (self.scores, self.models, self.drift > 0)
        expected = [(self.clients * len(MODELS), len(MODELS), True), (0, 0, False)]
        return self.clients == self.accepted > 0 and self.runs > 0 and scored in expected


@pytest.mark.slow
def test_reader_sees_whole_months_only_while_a_backfill_goes_on(fresh, start, forks, tmp_path):
    import processes

    seen, kept, stop = (tmp_path / name for name in ("seen", "kept", "stop"))
    readers = [
        forks.Process(target=processes.read_all_the_time, args=(fresh.root, target, stop, target == kept))
        for target in (seen, kept)
    ]
    for reader in readers:
        reader.start()
    backfill = start(fresh, "backfill", "2026-01", "2026-04", "--reason", "a first load")
    backfill.join(240)
    stop.touch()
    for reader in readers:
        reader.join(20)
    assert [p.exitcode for p in (backfill, *readers)] == [0, 0, 0], backfill.said()
    looks = [json.loads(line) for line in seen.read_text().splitlines()]
    assert [look["error"] for look in looks if "error" in look] == []
    answers = [[Month(*row) for row in look["database"]] for look in looks if "database" in look]
    assert len(answers) > 200
    assert [m for answer in answers for m in answer if not m.is_whole()] == []
    # Months only ever come, and each publication was seen or overtaken by the next.
    months = [len(answer) for answer in answers]
    assert months == sorted(months)
    assert (months[0], months[-1]) == (1, 4)
    # A connection that is kept open keeps its answer.
    held = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [look["error"] for look in held if "error" in look] == []
    assert len({str(look["database"]) for look in held if "database" in look}) == 1
    clients = {m.month: m.clients for m in answers[-1]}
    files = {(name, *facts) for look in looks for name, facts in look["parquet"].items()}
    assert files == {(f"month={month}", count * len(MODELS), len(MODELS)) for month, count in clients.items()}
    assert all(whole for look in looks for whole in look["pages"].values())
    print_count(len(answers), sum(len(look["parquet"]) for look in looks))


def print_count(databases, files):
    import sys

    sys.stdout.write(f"\n{databases} opens of the database, {files} of Parquet files, no error\n")


def test_of_two_runs_at_once_one_is_refused_in_one_line(home, start, creditflow, ask):
    home.published.unlink()
    first = start(home, "run", "2026-04")
    while "load clients start" not in [what for _, what in first.journal()]:
        assert first.is_alive(), first.said()
        time.sleep(0.01)
    # It stands still while the second asks: else a slow second may find it ended.
    os.kill(first.pid, signal.SIGSTOP)
    code, refused = creditflow(home, "run", "2026-04")
    os.kill(first.pid, signal.SIGCONT)
    first.join(120)
    assert (first.exitcode, code) == (0, 1), (first.said(), refused)
    assert len(refused.strip().splitlines()) == 1
    assert "expected no other run on this home" in refused
    assert ask(home, "SELECT count(*) FROM runs WHERE status = 'running'") == [(0,)]
    assert ask(home, "SELECT count(*) FROM runs WHERE month = '2026-04' AND status = 'done'") == [(2,)]


def test_of_two_runs_that_begin_in_the_same_moment_none_harms_the_other(home, start, ask):
    home.published.unlink()
    both = [start(home, "run", "2026-04") for _ in range(2)]
    for process in both:
        process.join(120)
    said = [(process.exitcode, process.said()) for process in both]
    # The second is refused, or begins late enough to find the first ended.
    assert sorted(code for code, _ in said) in ([0, 0], [0, 1]), said
    assert all("expected no other run on this home" in text for code, text in said if code), said
    done = sum(not code and "nothing to do" not in text for code, text in said)
    assert ask(home, "SELECT count(*) FROM runs WHERE status = 'running'") == [(0,)]
    assert ask(home, "SELECT count(*) FROM runs WHERE month = '2026-04' AND status = 'done'") == [(1 + done,)]


# ── A home that cannot be written to ────────────────────────────────────────────────────────────


@pytest.fixture
def read_only(finished, tmp_path):
    """A finished home on a disk that is read-only; skips where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs may be mounted here: {mounted.stderr.strip()}")
    try:
        shutil.copytree(finished, folder / "home")
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        yield Home(folder / "home")
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(
    "command", [("run", "2026-04"), ("backfill", "2026-03", "2026-04", "--reason", "x"), ("backup", "kept")]
)
def test_read_only_home_is_one_line(read_only, creditflow, tmp_path, command):
    command = [str(tmp_path / "kept") if word == "kept" else word for word in command]
    code, said = creditflow(read_only, *command)
    assert code == 1, said
    assert len(said.strip().splitlines()) == 1, said
    assert "Read-only file system" in said


def test_read_only_home_still_answers_readers(read_only, creditflow):
    code, said = creditflow(read_only, "sql", "SELECT count(*) AS months FROM portfolio_by_month")
    assert code == 0, said


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["load clients", "score", "publish"])
def test_home_that_vanishes_during_a_run_is_one_line_and_comes_back_whole(home, start, creditflow, stage):
    path = home.inbox / "clients_2026-04.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    process = start(home, "run", "2026-04")
    while process.is_alive() and f"{stage} start" not in [what for _, what in process.journal()]:
        time.sleep(0.002)
    elsewhere = home.root.with_name("elsewhere")
    home.root.rename(elsewhere)
    process.join(120)
    assert process.exitcode == 1, process.said()
    # Prefect's own log tells of messages that it did not get rid of.
    said = [line for line in process.said().splitlines() if " | " not in line]
    assert len(said) == 1, said
    assert "This is a bug" not in said[0]
    if home.root.exists():
        shutil.rmtree(home.root)
    elsewhere.rename(home.root)
    code, said = creditflow(home, "run", "2026-04")
    assert code == 0, said
