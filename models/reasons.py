"""Reasons for a client's score, in plain English, and the columns that are unusual about a client.

The list is `reasons.json`. Every column of the feature matrix belongs to one *group*, which is one player of
the attribution (see `models.attribution`), and a group has one or more *reasons*: the first whose condition
the client's own values meet is given, so that what is said of a client is true of the client, whichever way
the group raised the score. The last reason of a group has no condition and takes no side. A risk analyst may
edit texts and conditions; the protected attributes form a group without reasons and are never named.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from creditflow.errors import UsageError
from models.features import PROTECTED, FeatureSet

if TYPE_CHECKING:
    from models.attribution import Attribution

TOP_REASONS, TOP_UNUSUAL = 4, 3

# A contribution multiplies the odds of default by its exponential: 5 % more is the least reason.
LEAST_CONTRIBUTION = 0.05

# Rows explained at a time: bounds the memory.
BLOCK = 131_072

FILE = Path(__file__).with_name("reasons.json")

Floats = NDArray[np.float64]


# ── The list ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Condition:
    """Met where at least `of_them` of the columns are no less than `at_least`, or below `below`."""

    columns: tuple[str, ...]
    at_least: float | None = None
    below: float | None = None
    of_them: int = 1

    def met(self, X: Floats, positions: Mapping[str, int]) -> NDArray[np.bool_]:
        """(n,) for which rows of X the condition is met."""
        count = np.zeros(len(X), dtype=np.int64)
        for name in self.columns:
            count += self._one(X[:, positions[name]])
        return count >= self.of_them

    def _one(self, column: Floats) -> NDArray[np.bool_]:
        if self.at_least is not None:
            return column >= self.at_least
        return column < (np.inf if self.below is None else self.below)


@dataclass(frozen=True)
class Reason:
    """`reason` as a letter to a client puts it, `meaning` for an analyst.

    detail: the client's own values in words, with the names of columns in braces.
    """

    code: str
    reason: str
    meaning: str
    when: tuple[Condition, ...] = ()
    detail: str = ""

    def holds(self, X: Floats, positions: Mapping[str, int]) -> NDArray[np.bool_]:
        """(n,) for which rows of X every condition is met."""
        return np.logical_and.reduce([np.ones(len(X), bool), *(c.met(X, positions) for c in self.when)])


@dataclass(frozen=True)
class ReasonGroup:
    """Columns explained together; `features` may hold patterns such as status_[2-6]."""

    group: str
    features: tuple[str, ...]
    reasons: tuple[Reason, ...]
    protected: bool = False

    def covers(self, column: str) -> bool:
        return any(fnmatchcase(column, pattern) for pattern in self.features)


@cache
def reason_groups() -> tuple[ReasonGroup, ...]:
    """The groups of `reasons.json`, in its order."""
    return tuple(_group(entry) for entry in json.loads(FILE.read_text(encoding="utf-8")))


def _group(entry: Mapping[str, Any]) -> ReasonGroup:
    reasons = tuple(_reason(reason) for reason in entry["reasons"])
    return ReasonGroup(entry["group"], tuple(entry["features"]), reasons, entry.get("protected", False))


def _reason(entry: Mapping[str, Any]) -> Reason:
    when = tuple(Condition(**c | {"columns": tuple(c["columns"])}) for c in entry.get("when", []))
    return Reason(**{**entry, "when": when})


def reason_texts() -> list[dict[str, str]]:
    """Every reason that may be given: code, reason and meaning, sorted by code."""
    reasons = [reason for group in reason_groups() for reason in group.reasons]
    texts = [{"code": r.code, "reason": r.reason, "meaning": r.meaning} for r in reasons]
    return sorted(texts, key=lambda text: text["code"])


def column_groups(feature_names: Sequence[str]) -> list[int]:
    """For each column the position of its group in `reason_groups()`.

    Raises:
        UsageError: a column belongs to no group, or to more than one.
    """
    found = [[i for i, group in enumerate(reason_groups()) if group.covers(name)] for name in feature_names]
    wrong = [name for name, groups in zip(feature_names, found, strict=True) if len(groups) != 1]
    if wrong:
        raise UsageError(
            FILE.name,
            expected="every feature in exactly one group",
            found=f"none or several for {', '.join(wrong)}",
            remedy="Correct the groups' features.",
        )
    return [groups[0] for groups in found]


# ── Reasons of scores ───────────────────────────────────────────────────────────────────────────


class ClientExplainer:
    """A fitted classifier prepared to give reasons, block by block.

    Raises:
        UsageError: the classifier has no contributions (`models.attribution.unexplained` says why), or a
            column belongs to no group.
    """

    def __init__(self, estimator: Any, feature_names: Sequence[str]) -> None:
        # Reading the list of reasons must not cost the libraries that find them.
        from models.attribution import prepare

        self.feature_names = tuple(feature_names)
        self._explainer = prepare(estimator, len(self.feature_names), column_groups(self.feature_names))

    def explain(self, X: Floats) -> pl.DataFrame:
        """(n,) rows: base_log_odds, reason_1, contribution_1 … contribution_4, of X (n, p) float64."""
        starts = range(0, max(len(X), 1), BLOCK)
        return pl.concat([self._explain(X[start : start + BLOCK]) for start in starts])

    def _explain(self, X: Floats) -> pl.DataFrame:
        from models.attribution import attribute

        found = attribute(self._explainer, X)
        reasons = reason_codes(found, X, self.feature_names)
        return reasons.select(pl.lit(found.base).alias("base_log_odds"), pl.all())


def explain(estimator: Any, X: Floats, feature_names: Sequence[str]) -> pl.DataFrame:
    """The same in one call, for a classifier that explains once."""
    return ClientExplainer(estimator, feature_names).explain(X)


def reason_codes(
    attribution: "Attribution", X: Floats, feature_names: Sequence[str], top: int = TOP_REASONS
) -> pl.DataFrame:
    """The reasons that raised each client's score most.

    Args:
        attribution: contributions of the groups of `column_groups(feature_names)`, (n, groups).
        X: (n, p) feature matrix. feature_names: its columns.
        top: at most so many reasons a client.

    Returns:
        (n,) rows: reason_1, contribution_1, … largest first. A contribution below `LEAST_CONTRIBUTION` is no
        reason, nor is a protected group; of equal ones the group that stands first in the list comes first.
        Nulls follow.
    """
    groups = reason_groups()[: attribution.values.shape[1]]
    shown = [i for i, group in enumerate(groups) if not group.protected]
    given = _reasons_given([groups[i] for i in shown], X, feature_names)
    codes = pl.Series([reason.code for i in shown for reason in groups[i].reasons], dtype=pl.String)
    largest = _largest(attribution.values[:, shown], top)
    clients = np.arange(len(X))
    columns: list[pl.Series] = []
    for number, (group, contribution) in enumerate(largest, 1):
        weighty = pl.Series(contribution >= LEAST_CONTRIBUTION)
        reason = codes.gather(pl.Series(given[group, clients]))
        columns += [_where(weighty, reason, f"reason_{number}")]
        columns += [_where(weighty, pl.Series(contribution), f"contribution_{number}")]
    return pl.DataFrame(columns)


def _where(condition: pl.Series, values: pl.Series, name: str) -> pl.Series:
    return pl.select(pl.when(condition).then(values).alias(name)).to_series()


def _largest(values: Floats, top: int) -> Iterator[tuple[NDArray[np.intp], Floats]]:
    """Position (n,) and value (n,) of the largest of each row, of the second largest, and so on.

    Of equal ones the first comes first; where a row has run out, the value is −∞.
    """
    remaining = np.array(values, order="C")
    for _ in range(top):
        position = remaining.argmax(axis=1)
        value = np.take_along_axis(remaining, position[:, None], axis=1)[:, 0]
        np.put_along_axis(remaining, position[:, None], -np.inf, axis=1)
        yield position, value


def _reasons_given(
    groups: Sequence[ReasonGroup], X: Floats, feature_names: Sequence[str]
) -> NDArray[np.int64]:
    """(groups, n) which reason of all, counted through the groups, each group has for each client."""
    positions = {name: position for position, name in enumerate(feature_names)}
    given = np.zeros((len(groups), len(X)), dtype=np.int64)
    start = 0
    for row, group in zip(given, groups, strict=True):
        # From the last to the first, so that the first whose condition is met stays.
        for position, reason in reversed(list(enumerate(group.reasons, start))):
            row[reason.holds(X, positions)] = position
        start += len(group.reasons)
    return given


# ── Unusual columns ─────────────────────────────────────────────────────────────────────────────


def unusual_columns(deformation: Floats, names: Sequence[str], top: int = TOP_UNUSUAL) -> pl.DataFrame:
    """The columns in which each client is least like those that a one-class VAE learned.

    Args:
        deformation: (n, m) standardised: how far each column lies from its reconstruction.
        names: the m columns.
        top: how many are named.

    Returns:
        (n,) rows: unusual_1, deformation_1, … largest in absolute value first, with its sign; of equal ones
        the column that stands first. Protected attributes are left out, and nulls follow where columns end.
    """
    shown = [i for i, name in enumerate(names) if not is_protected(name)]
    labels = pl.Series([*(names[i] for i in shown), None], dtype=pl.String)
    starts = range(0, max(len(deformation), 1), BLOCK)
    return pl.concat([_unusual(deformation[start : start + BLOCK, shown], labels, top) for start in starts])


def _unusual(deformation: Floats, labels: pl.Series, top: int) -> pl.DataFrame:
    # A last column that is never the largest while others remain: who has run out of columns gets it.
    signed = np.column_stack([deformation, np.zeros(len(deformation))])
    size = np.abs(signed)
    size[:, -1] = -np.inf
    columns: list[pl.Series] = []
    for number, (position, found) in enumerate(_largest(size, top), 1):
        value = np.take_along_axis(signed, position[:, None], axis=1)[:, 0]
        columns += [
            _where(pl.Series(np.isfinite(found)), labels.gather(pl.Series(position)), f"unusual_{number}")
        ]
        columns += [_where(pl.Series(np.isfinite(found)), pl.Series(value), f"deformation_{number}")]
    return pl.DataFrame(columns)


def is_protected(column: str) -> bool:
    """Whether a column of the feature matrix, or an attribute, must never be named as a reason."""
    return column in PROTECTED or any(group.protected and group.covers(column) for group in reason_groups())


# ── In words ────────────────────────────────────────────────────────────────────────────────────


def in_words(row: Mapping[str, Any], features: Mapping[str, float] | None = None) -> list[str]:
    """One client's reasons as sentences, the weightiest first, as plain text.

    Args:
        row: reason_1 … reason_4, as in `reason_codes`; others are ignored.
        features: the client's own values by name of feature; without them the sentences give none.

    Raises:
        UsageError: a code is not in the list.
    """
    codes = [row[f"reason_{position}"] for position in range(1, TOP_REASONS + 1)]
    return [_sentence(_reason_of(code), features) for code in codes if code is not None]


def _reason_of(code: str) -> Reason:
    reasons = {reason.code: reason for group in reason_groups() for reason in group.reasons}
    if code not in reasons:
        raise UsageError(
            "reason code",
            expected=f"one of {', '.join(sorted(reasons))}",
            found=code,
            remedy=f"Was the code taken out of {FILE.name}? Put it back: stored reasons still refer to it.",
        )
    return reasons[code]


def _sentence(reason: Reason, features: Mapping[str, float] | None) -> str:
    if features is None or not reason.detail:
        return f"{reason.reason}."
    fields = [name for _, name, _, _ in Formatter().parse(reason.detail) if name]
    values = {name: value_in_words(name, features[name]) for name in fields}
    return f"{reason.reason}: {reason.detail.format(**values)}."


def value_in_words(feature: str, value: float) -> str:
    """A value with its unit: 2 months, 97 %, −0.4 %, 50,000."""
    unit = _units()[feature]
    if unit == "months":
        text = f"{value:.0f} month" if value == 1 else f"{value:.0f} months"
    elif unit == "ratio":
        # Small shares differ by their tenths: 0.4 % is not nothing.
        text = f"{100 * value:.{0 if abs(value) >= 0.1 or value == 0 else 1}f} %"
    else:
        text = f"{value:,.0f}"
    return text.replace("-", "−")


@cache
def _units() -> dict[str, str]:
    return {column.name: column.unit for column in FeatureSet("all").columns}
