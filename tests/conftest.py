"""Fixtures that every room's tests share."""

import atexit
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# A worker ends without taking its interpreter apart: once Evidently and DuckDB share a process, DuckDB's
# bindings print pages of "leaked" objects there. Registered first, so that it runs after all other cleaning.
if "PYTEST_XDIST_WORKER" in os.environ:
    atexit.register(os._exit, 0)

# Files that a test has just written are complete.
os.environ.setdefault("CREDITFLOW_FILE_SETTLE_SECONDS", "0")

# Files are handed to the workers in this order: a long one that came last would be waited for. The first of
# `make test` makes the finished home that many need, and its neighbour is one that needs none.
_LONGEST = (
    "test_kills.py",
    "test_monthly.py",
    "test_end_to_end.py",
    "test_serve.py",
    "test_rebuild.py",
    "test_readers.py",
    "test_faults.py",
    "test_schedule.py",
    "test_study.py",
    "test_backfill.py",
    "test_anomaly.py",
)

_BESIDE = Path(__file__).resolve().parent.parent.parent / "shared/data/default_of_credit_card_clients.csv"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, the others as they come."""
    places = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


@pytest.fixture(scope="session")
def uci_file() -> Path:
    """The UCI data set, from CREDITFLOW_UCI_FILE or beside the checkout; skips where it is absent."""
    path = Path(os.environ.get("CREDITFLOW_UCI_FILE", _BESIDE))
    if not path.is_file():
        pytest.skip("the UCI data set is absent: set CREDITFLOW_UCI_FILE to its CSV")
    return path


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Prefect server for all flow tests, quiet and private."""
    from flows.quiet import prepare_environment

    prepare_environment(tmp_path_factory.mktemp("prefect"))
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=90):
        yield
