"""A small simulated portfolio, run once; tests work on copies of its home."""

import os
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest
from filelock import FileLock

from creditflow.month import Month, month_range
from sql.warehouse import open_warehouse
from tasks.home import Home

FIRST, LAST = Month(2026, 1), Month(2026, 4)


@pytest.fixture(scope="session")
def portfolio(tmp_path_factory):
    """An inbox with four months of 700 clients; outcomes of the first three."""
    from models.simulator import SimulationSettings
    from tasks.simulate import write_simulation

    inbox = tmp_path_factory.mktemp("portfolio") / "inbox"
    inbox.mkdir()
    write_simulation(SimulationSettings(first=FIRST, months=4, clients=700, seed=7), inbox)
    return inbox


@pytest.fixture(scope="session")
def finished(portfolio, tmp_path_factory, prefect_server):
    """A home in which every month of the portfolio was run; nobody changes it, each works on a copy."""
    # One for all workers: it is half a minute's work. Without workers the folder is the run's own.
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    root, building = shared / "finished", shared / "finished.building"
    with FileLock(shared / "finished.lock"):
        if not root.exists():
            shutil.rmtree(building, ignore_errors=True)
            shutil.copytree(portfolio, building / "inbox")
            with pytest.MonkeyPatch.context() as patch:
                run_months(patch, building, FIRST, LAST)
            building.rename(root)
    return root


@pytest.fixture
def home(finished, tmp_path, monkeypatch):
    """A copy of the finished home, in force."""
    root = tmp_path / "home"
    shutil.copytree(finished, root)
    use(monkeypatch, root)
    return Home(root)


@pytest.fixture
def fresh(portfolio, tmp_path, monkeypatch, prefect_server):
    """A home with the portfolio's inbox and nothing run, in force."""
    root = tmp_path / "fresh"
    shutil.copytree(portfolio, root / "inbox")
    use(monkeypatch, root)
    return Home(root).prepare()


def use(patch, root):
    patch.setenv("CREDITFLOW_HOME", str(root))
    patch.setenv("CREDITFLOW_EVIDENTLY", "false")
    patch.setenv("CREDITFLOW_LOCK_WAIT_SECONDS", "0")


def run_months(patch, root, first, last):
    from flows.monthly import monthly

    use(patch, root)
    return [monthly(str(month)) for month in month_range(first, last)]


@pytest.fixture
def ask():
    """Runs a query on a home's warehouse and returns its rows."""

    def query(home: Home | Path, text: str) -> list[tuple]:
        root = home.root if isinstance(home, Home) else home
        with open_warehouse(Home(root).warehouse) as con:
            return con.execute(text).fetchall()

    return query


@pytest.fixture
def contents():
    """Every table but the ledger's, sorted, without the columns that name a run or a moment."""
    passing = [
        "run_id",
        "loaded_at",
        "scored_at",
        "trained_at",
        "decided_at",
        "fit_seconds",
        "superseded_by_run",
    ]
    tables = (
        "files clients outcomes quarantine expectation_results models decisions scores drift drift_bins "
        "performance reasons retrain_rules gate_checks promotions"
    )

    def read(home: Home | Path) -> dict[str, pl.DataFrame]:
        root = home.root if isinstance(home, Home) else home
        with open_warehouse(Home(root).warehouse) as con:
            frames = {
                name: con.sql(f"FROM {name}").pl().drop(passing, strict=False) for name in tables.split()
            }
        return {
            name: frame.sort([c for c in frame.columns if frame.schema[c] != pl.List(pl.String)])
            for name, frame in frames.items()
        }

    return read


# ── Processes of their own ──────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def forks(prefect_server):
    """A fork server that has imported everything, so that a process of its own costs a second and not ten."""
    import multiprocessing
    from multiprocessing import forkserver

    here = Path(__file__).resolve().parent
    sys.path.insert(0, str(here))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["warm_server"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(here), str(here.parent.parent)]))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("OMP_WAIT_POLICY", "PASSIVE")
        forkserver.ensure_running()
    yield context
    sys.path.remove(str(here))


@pytest.fixture
def start(forks, tmp_path):
    """Starts `creditflow ARGUMENTS` on a home in a process of its own; whoever lives at the end is killed."""
    import processes
    from prefect.settings import PREFECT_API_URL

    api, begun = PREFECT_API_URL.value(), []

    def begin(home, *arguments, die_at=None, limit=None, full_at=None, filler=None, **settings):
        root, number = home.root if isinstance(home, Home) else home, len(begun)
        said, journal = tmp_path / f"said-{number}", tmp_path / f"journal-{number}"
        env = {
            "CREDITFLOW_HOME": str(root),
            "CREDITFLOW_EVIDENTLY": "false",
            "CREDITFLOW_LOCK_WAIT_SECONDS": "0",
            **settings,
        }
        given = (env, api, list(arguments), said, journal, die_at, limit, full_at, filler)
        process = forks.Process(target=processes.creditflow, args=given)
        process.start()
        begun.append(process)
        process.said = lambda: said.read_text() if said.exists() else ""
        process.journal = processes.Journal(journal).read
        return process

    yield begin
    for process in begun:
        if process.is_alive():
            process.kill()
            process.join()


@pytest.fixture
def creditflow(start):
    """Runs `creditflow ARGUMENTS` to its end; gives exit code (-9: killed) and what it said."""

    def run(home, *arguments, **given):
        process = start(home, *arguments, **given)
        process.join(240)
        return process.exitcode, process.said()

    return run
