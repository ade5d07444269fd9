"""A client's reasons as readers see them: sentences with what each does to the odds, and unusual columns.

Shared by the month's page and `creditflow explain`; nothing here needs torch or scikit-learn.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from creditflow.columns import ATTRIBUTE_NAMES, ATTRIBUTES, CLIENT_SCHEMA
from creditflow.errors import UsageError

SYMBOLS = "L limit, B_t bill, P_t payment, S_t payment status of statement t, 1 the newest"
_PLACES = {"reason": (1, 2, 3, 4), "unusual": (1, 2, 3)}
_NUMBERED = ("reason_", "contribution_", "unusual_", "deformation_")


@dataclass(frozen=True)
class Reason:
    """What raised a score: `contribution` in log-odds, `text` a sentence with the client's own values."""

    code: str
    contribution: float
    text: str

    @property
    def odds_factor(self) -> float:
        """By what the odds of default are multiplied."""
        return math.exp(min(self.contribution, 700.0))


@dataclass(frozen=True)
class Unusual:
    """A column that the one-class VAE found unusual: `deformation` in standard deviations, with its sign."""

    name: str
    meaning: str
    deformation: float


def with_reasons(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of scores joined with reasons and clients, its numbered columns gathered into two tuples.

    Args:
        row: reason_1 … 4, contribution_1 … 4, unusual_1 … 3, deformation_1 … 3, the 23 attributes, and
            others, which are kept.

    Returns:
        The others, `reasons` and `unusual`, the weightiest first.
    """
    plain = {
        name: value
        for name, value in row.items()
        if not name.startswith(_NUMBERED) and name not in ATTRIBUTE_NAMES
    }
    return plain | {"reasons": _reasons(row), "unusual": _unusual(row)}


def _reasons(row: Mapping[str, Any]) -> tuple[Reason, ...]:
    codes = {n: row[f"reason_{n}"] for n in _PLACES["reason"] if row[f"reason_{n}"] is not None}
    values = _features(row) if codes else {}
    return tuple(Reason(code, row[f"contribution_{n}"], _sentence(code, values)) for n, code in codes.items())


def _sentence(code: str, values: Mapping[str, float]) -> str:
    from models.reasons import TOP_REASONS, in_words

    alone = dict.fromkeys((f"reason_{n}" for n in range(1, TOP_REASONS + 1)), None) | {"reason_1": code}
    try:
        return in_words(alone, values)[0]
    except UsageError:
        return f"Reason {code}, which is no longer in the list of reasons."


def _unusual(row: Mapping[str, Any]) -> tuple[Unusual, ...]:
    names = {n: row[f"unusual_{n}"] for n in _PLACES["unusual"] if row[f"unusual_{n}"] is not None}
    return tuple(Unusual(name, column_meaning(name), row[f"deformation_{n}"]) for n, name in names.items())


def _features(row: Mapping[str, Any]) -> dict[str, float]:
    """The client's feature values by name, computed as the models' were."""
    from models.features import FeatureSet

    schema = {name: CLIENT_SCHEMA[name] for name in ATTRIBUTE_NAMES}
    clients = pl.DataFrame([{name: row[name] for name in ATTRIBUTE_NAMES}], schema=schema)
    return FeatureSet("all").frame(clients).row(0, named=True)


def column_meaning(name: str) -> str:
    """What an attribute or a feature is, in words; a name that neither knows stands for itself."""
    from models.features import FeatureSet

    meanings = {f.name: f.definition for f in FeatureSet("all").columns} | {
        a.name: a.meaning for a in ATTRIBUTES
    }
    return meanings.get(name, name)
