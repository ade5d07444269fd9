"""Simulated months arrive as files that the data contract accepts."""

import gzip
import hashlib
import resource
import signal
import subprocess
import sys
from dataclasses import replace

import polars as pl
import pytest

from creditflow.columns import CLIENT_ID, OUTCOME
from creditflow.errors import HomeUnusable, UsageError
from creditflow.month import Month
from expectations.reader import open_raw
from models.simulator import SimulationSettings, simulate
from tasks.inbox import STUDY_HEADER
from tasks.simulate import write_simulation

FIRST = Month(2026, 1)
SETTINGS = SimulationSettings(FIRST, 3, 200)
FORMATS = ["csv", "csv.gz", "parquet", "xlsx"]


def digests(paths):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


@pytest.mark.parametrize("suffix", FORMATS)
def test_files_hold_what_was_simulated_and_read_back_through_the_contract(tmp_path, suffix):
    paths = write_simulation(SETTINGS, tmp_path / "inbox", format=suffix)
    assert [p.name for p in paths] == [
        f"{kind}_2026-{m:02d}.{suffix}"
        for m in (1, 2, 3)
        for kind in ("clients", "outcomes")
        if (kind, m) != ("outcomes", 3)
    ]
    assert sorted(p.name for p in (tmp_path / "inbox").iterdir()) == sorted(p.name for p in paths)
    by_name = {p.name: p for p in paths}
    for month in simulate(SETTINGS):
        for kind, frame in (("clients", month.clients), ("outcomes", month.outcomes)):
            name = f"{kind}_{month.month}.{suffix}"
            if name in by_name:
                assert read(by_name[name], kind, tmp_path).equals(frame)


def read(path, kind, tmp_path):
    stage = tmp_path / "stage"
    stage.mkdir(exist_ok=True)
    raw = open_raw(path, kind, stage)
    assert OUTCOME not in raw.header.names or kind == "outcomes"
    reference = next(simulate(replace(SETTINGS, months=1)))
    schema = (reference.clients if kind == "clients" else reference.outcomes).schema
    cells = raw.frame.collect()
    return cells.select(
        pl.col(name) if name == CLIENT_ID else pl.col(name).cast(pl.Float64).cast(dtype)
        for name, dtype in schema.items()
    )


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_same_settings_give_the_same_bytes(tmp_path, suffix):
    one, two = (write_simulation(SETTINGS, tmp_path / name, format=suffix) for name in ("a", "b"))
    assert digests(one) == digests(two)


def test_header_is_spelled_like_the_study(tmp_path):
    clients, outcomes = write_simulation(SETTINGS, tmp_path)[:2]
    spelled = [name for regular, name in STUDY_HEADER.items() if regular != OUTCOME]
    assert clients.read_text().splitlines()[0] == ",".join(spelled)
    assert outcomes.read_text().splitlines()[0] == "ID,default payment next month"
    packed = write_simulation(SETTINGS, tmp_path / "gz", format="csv.gz")[0]
    assert gzip.decompress(packed.read_bytes()) == clients.read_bytes()


@pytest.mark.parametrize(
    ("until", "months"),
    [(None, [1, 2]), (FIRST.plus(2), [1, 2, 3]), (FIRST, [1]), (FIRST.plus(-1), [])],
)
def test_outcomes_are_written_as_far_as_they_are_known(tmp_path, until, months):
    write_simulation(SETTINGS, tmp_path, outcomes_until=until)
    found = sorted(p.name for p in tmp_path.glob("outcomes_*"))
    assert found == [f"outcomes_2026-{m:02d}.csv" for m in months]


def test_outcomes_beyond_the_last_month_are_refused(tmp_path):
    with pytest.raises(UsageError, match="outcomes_until: expected a simulated month, 2026-01 to 2026-03"):
        write_simulation(SETTINGS, tmp_path, outcomes_until=FIRST.plus(3))
    assert list(tmp_path.iterdir()) == []


def test_writing_again_changes_nothing_and_more_months_are_added(tmp_path):
    paths = write_simulation(SETTINGS, tmp_path)
    before = [p.stat().st_mtime_ns for p in paths]
    longer = write_simulation(replace(SETTINGS, months=5), tmp_path)
    assert [p.stat().st_mtime_ns for p in paths] == before
    assert len(longer) == 9


def test_other_settings_need_overwrite(tmp_path):
    paths = write_simulation(SETTINGS, tmp_path)
    before = digests(paths)
    with pytest.raises(UsageError, match=r"clients_2026-01\.csv.*--overwrite"):
        write_simulation(replace(SETTINGS, seed=1), tmp_path)
    assert digests(paths) == before
    assert write_simulation(replace(SETTINGS, seed=1), tmp_path, overwrite=True) == paths
    assert digests(paths) != before


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"format: expected one of csv, csv.gz, parquet, xlsx, found 'xls'"):
        write_simulation(SETTINGS, tmp_path, format="xls")
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_months(tmp_path):
    seen = []
    write_simulation(SETTINGS, tmp_path, progress=lambda *step: seen.append(step))
    assert seen == [("2026-01", 1, 3), ("2026-02", 2, 3), ("2026-03", 3, 3)]


_IN_LITTLE_SPACE = """
import resource, signal, sys
from pathlib import Path
from creditflow.errors import HomeUnusable
from creditflow.month import Month
from models.simulator import SimulationSettings
from tasks.simulate import write_simulation
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    write_simulation(SimulationSettings(Month(2026, 1), 2, 3000), Path(sys.argv[1]), format=sys.argv[2])
except HomeUnusable as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs a limit on the size of files")
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_disk_that_takes_no_more_is_named_and_left_clean(tmp_path, suffix):
    command = [sys.executable, "-c", _IN_LITTLE_SPACE, str(tmp_path), suffix]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "expected a writable folder with space left, found File too large" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 50_000


def test_a_place_that_is_no_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeUnusable, match="writable folder"):
        write_simulation(SETTINGS, tmp_path / "file")
