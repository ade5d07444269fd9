"""Fixtures that every room's tests share."""

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parent.parent.parent / "shared/data/default_of_credit_card_clients.csv"


@pytest.fixture(scope="session")
def uci_file() -> Path:
    """The UCI data set, from CREDITFLOW_UCI_FILE or beside the checkout; skips where it is absent."""
    path = Path(os.environ.get("CREDITFLOW_UCI_FILE", _BESIDE))
    if not path.is_file():
        pytest.skip("the UCI data set is absent: set CREDITFLOW_UCI_FILE to its CSV")
    return path
