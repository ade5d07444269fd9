"""Client frames that the tests of this room share."""

import numpy as np
import polars as pl
import pytest

from creditflow.columns import ATTRIBUTES, CLIENT_ID, OUTCOME
from models.develop import DevelopedModel, develop


def make_clients(rows: int, seed: int, month: str | None = None) -> pl.DataFrame:
    """Clients with outcomes: default rises with the payment delay and falls with the limit."""
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=rows)
    columns: dict[str, np.ndarray | list[str]] = {CLIENT_ID: [f"C{n:06d}" for n in range(rows)]}
    for attribute in ATTRIBUTES:
        columns[attribute.name] = _column(attribute.name, risk, rng)
    defaulted = rng.random(rows) < 1 / (1 + np.exp(1.5 - 1.3 * risk))
    frame = pl.DataFrame(columns).cast({a.name: a.dtype for a in ATTRIBUTES})
    frame = frame.with_columns(pl.Series(OUTCOME, defaulted, dtype=pl.Boolean).cast(pl.Int8))
    return frame if month is None else frame.with_columns(pl.lit(month).alias("month"))


def _column(name: str, risk: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    rows = risk.size
    if name == "limit_bal":
        return np.maximum(10_000, np.round(np.exp(11.6 - 0.4 * risk + 0.5 * rng.normal(size=rows)), -4))
    if name.startswith("bill_amt"):
        return np.round(rng.normal(40_000, 45_000, rows))
    if name.startswith("pay_amt"):
        return np.round(np.where(rng.random(rows) < 0.2, 0, np.exp(rng.normal(7.5, 1.4, rows))))
    if name == "age":
        return rng.integers(21, 75, rows)
    if name.startswith("pay_"):
        return np.clip(np.round(risk + 0.7 * rng.normal(size=rows)), -2, 8)
    return rng.integers(1, {"sex": 3, "education": 5, "marriage": 4}[name], rows)


@pytest.fixture(scope="session")
def clients() -> pl.DataFrame:
    """1,500 clients of one month with outcomes, about a quarter of them defaulters."""
    return make_clients(1_500, seed=11)


@pytest.fixture(scope="session")
def developed(clients: pl.DataFrame) -> dict[str, DevelopedModel]:
    """Every model of the registry, developed once on `clients`."""
    return {model.name: model for model in develop(clients, seed=7)}
