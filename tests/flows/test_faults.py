import shutil
import subprocess
import sys

import pytest

from creditflow.errors import (
    ArtifactCorrupt,
    ContentRefused,
    FileMissing,
    HomeLocked,
    WarehouseCorrupt,
)
from creditflow.month import Month
from flows.monthly import monthly
from tasks import ledger
from tasks.home import locked

pytestmark = pytest.mark.flow

LAST = "2026-04"


def test_month_without_a_file_is_refused(home):
    with pytest.raises(FileMissing, match="clients_2026-09"):
        monthly("2026-09")


def test_another_months_content_is_refused(home):
    shutil.copy(home.inbox / f"clients_{LAST}.csv", home.inbox / "clients_2026-05.csv")
    with pytest.raises(ContentRefused, match=LAST):
        monthly("2026-05")


@pytest.mark.slow
def test_damaged_artifact_is_named_with_the_way_to_recover(home, ask):
    folder = home.root / ask(home, "SELECT artifact FROM models WHERE model = 'logistic'")[0][0]
    victim = max((p for p in folder.iterdir() if p.suffix == ".skops"), key=lambda p: p.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 0xFF
    victim.write_bytes(content)
    (home.inbox / f"clients_{LAST}.csv").write_text(
        "\n".join((home.inbox / f"clients_{LAST}.csv").read_text().splitlines()[:-1]) + "\n"
    )
    with pytest.raises(ArtifactCorrupt, match=victim.name):
        monthly(LAST)
    monthly(LAST, retrain=True)
    promoted = f"SELECT action, version LIKE '{LAST}-%' FROM promotions WHERE month = '{LAST}'"
    assert ask(home, promoted) == [("replacement", True)]
    assert ask(home, f"SELECT DISTINCT version LIKE '{LAST}-%' FROM scores WHERE month = '{LAST}'") == [
        (True,)
    ]


def test_damaged_warehouse_is_named(home):
    home.warehouse.write_bytes(b"x" * 9000)
    with pytest.raises(WarehouseCorrupt, match=r"warehouse\.duckdb"):
        monthly(LAST)


def test_second_run_of_the_home_is_refused_while_one_is_going_on(home):
    code = (
        "import time\nfrom pathlib import Path\nfrom tasks.home import Home, locked\n"
        f"with locked(Home(Path({str(home.root)!r})), 'the run of {LAST}', 0):\n"
        "    print('held', flush=True)\n    time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(HomeLocked, match=f"the run of {LAST} .process {other.pid}"):
            monthly(LAST)
    finally:
        other.kill()
        other.wait()
    # The lock of a killed process is free again.
    with locked(home, "this test", 0):
        pass


def test_run_that_was_killed_is_swept_at_the_next_start(home, ask):
    with pytest.raises(KeyboardInterrupt), ledger.recorded(home, "dead", Month.parse(LAST), "run", None):
        raise KeyboardInterrupt
    ask(home, "UPDATE runs SET status = 'running', ended_at = NULL WHERE run_id = 'dead'")
    monthly(LAST)
    assert ask(home, "SELECT status FROM runs WHERE run_id = 'dead'") == [("killed",)]


STAGES = [
    "load_clients",
    "load_outcomes",
    "decide",
    "develop",
    "score",
    "monitor",
    "alert",
    "report",
    "publish",
]


# Kills at every stage are tested in test_kills.py; of the exceptions here two are enough every time.
QUICK = ("publish",)


@pytest.mark.parametrize(
    "after", [pytest.param(s, marks=[] if s in QUICK else pytest.mark.slow) for s in STAGES]
)
def test_run_that_ends_after_any_stage_is_made_good_by_the_next(home, contents, monkeypatch, after):
    """Outcomes and clients change, the run dies after a stage, the month is run again: as if never killed."""
    from flows import monthly as module

    path = home.inbox / "outcomes_2026-03.csv"
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *rows[:-5]]) + "\n")
    clients = home.inbox / f"clients_{LAST}.csv"
    clients.write_text("\n".join(clients.read_text().splitlines()[:-5]) + "\n")
    undisturbed = home.root.parent / "undisturbed"
    shutil.copytree(home.root, undisturbed)

    stage = getattr(module, after)

    def dies(*given):
        stage(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, after, dies)
    with pytest.raises(KeyboardInterrupt):
        monthly(LAST)
    monkeypatch.setattr(module, after, stage)
    monthly(LAST)
    monkeypatch.setenv("CREDITFLOW_HOME", str(undisturbed))
    monthly(LAST)
    expected = contents(undisturbed)
    for name, frame in contents(home).items():
        assert frame.equals(expected[name]), name
    for page in ("2026-03/index.html", f"{LAST}/stability.html"):
        assert len((home.reports / page).read_text()) == len(
            (undisturbed / "published/reports" / page).read_text()
        )
