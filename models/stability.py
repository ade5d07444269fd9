"""Population and characteristic stability: how far a month has moved from the reference.

PSI = Σ (current - reference) · ln(current / reference) over the bins of the reference sample. It is
called PSI for the score and CSI for an attribute; the arithmetic is one. Bins are frozen when a model
is developed: deciles for amounts and scores, one bin a value for codes. Bands: below 0.10 stable, below
0.25 moderate, from 0.25 on significant. Sources: Siddiqi (2006), "Credit Risk Scorecards", chapter 8;
Yurdakul (2018), "Statistical properties of population stability index".

Empty bins: the logarithm needs shares above zero. Both sides are held at or above one common floor,
`max(1e-4, half a row of the smaller sample)`. Half a row, because a sample of n rows cannot tell a share
below that from none; 1e-4, so that in a month of millions a handful of clients with a new code does not
outweigh everything else. The floor is common to both sides, so a bin that is empty on both contributes
nothing and the index stays symmetric.
"""

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, Self, get_args

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from creditflow.columns import ATTRIBUTES

Kind = Literal["amount", "code"]
StabilityBand = Literal["stable", "moderate", "significant", "not run"]

DECILES = 10
SHARE_FLOOR = 1e-4
MODERATE, SIGNIFICANT = 0.10, 0.25
OTHER = "other"

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


# --- bins --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReferenceBins:
    """Frozen bins of one variable and how many reference rows fell into each.

    Args:
        kind: "amount" for ordered values, "code" for codes.
        cuts: "amount": ascending upper edges; bin i holds cuts[i-1] < value ≤ cuts[i], and the outer bins
            are open, so there are len(cuts) + 1 bins. "code": ascending values, one bin each, and a
            last bin for every other value, so there are len(cuts) + 1 bins as well.
        reference: reference rows in each bin.
    """

    kind: Kind
    cuts: tuple[float, ...]
    reference: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {get_args(Kind)}, not {self.kind!r}")
        if len(self.reference) != len(self.cuts) + 1 or min(self.reference) < 0:
            raise ValueError(f"{len(self.cuts)} cuts need {len(self.cuts) + 1} counts, none below zero")
        if any(not low < high for low, high in pairwise(self.cuts)):
            raise ValueError("cuts must ascend")

    @property
    def rows(self) -> int:
        """Reference rows in all bins."""
        return sum(self.reference)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What each bin holds, in words: `≤ 20,000`, `20,000 – 50,000`, `> 50,000`; `2`, `other`."""
        texts = _texts(self.cuts)
        if self.kind == "code":
            return (*texts, OTHER)
        middle = (f"{low} – {high}" for low, high in pairwise(texts))
        return (f"≤ {texts[0]}", *middle, f"> {texts[-1]}")

    def to_state(self) -> dict[str, Any]:
        """Everything `from_state` needs, as JSON keeps it."""
        return {"kind": self.kind, "cuts": list(self.cuts), "reference": list(self.reference)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The bins that `to_state` described.

        Raises:
            ValueError: the state is not one of bins.
            KeyError: a field is missing.
        """
        return cls(state["kind"], tuple(map(float, state["cuts"])), tuple(map(int, state["reference"])))


def reference_bins(values: ArrayLike | pl.Series, kind: Kind) -> ReferenceBins:
    """Freeze the bins of a reference sample.

    Amounts are cut at their observed deciles (no interpolation, so any rising transform of the values
    gives the same bins); equal deciles are merged. A variable with one single value is binned as a code:
    as an amount it would have one bin and could never be seen to move.

    Args:
        values: (n,) the reference sample.
        kind: "amount" or "code".

    Raises:
        ValueError: there is no value, or one is missing.
    """
    sample = _array(values)
    if not sample.size or np.isnan(sample).any():
        raise ValueError("a reference sample needs at least one value and none missing")
    quantiles = np.quantile(sample, np.arange(1, DECILES) / DECILES, method="inverted_cdf")
    lowest, highest = sample.min(), sample.max()
    if kind == "code" or lowest == highest:
        kind, cuts = "code", np.unique(sample)
    else:
        # The highest value is no cut: nothing of the reference would lie above it.
        cuts = np.unique(quantiles[quantiles < highest])
        cuts = cuts if cuts.size else np.array([lowest])
    edges = tuple(map(float, cuts))
    empty = ReferenceBins(kind, edges, (0,) * (len(edges) + 1))
    return ReferenceBins(kind, edges, tuple(map(int, counts(empty, sample))))


def attribute_bins(frame: pl.DataFrame) -> dict[str, ReferenceBins]:
    """Frozen bins of every attribute of a client; codes by value, amounts and the age by decile."""
    return {
        a.name: reference_bins(frame[a.name], "code" if a.role == "code" else "amount") for a in ATTRIBUTES
    }


def counts(bins: ReferenceBins, values: ArrayLike | pl.Series) -> Counts:
    """How many values fall into each bin; missing values fall into none.

    Counts of parts add up to the counts of the whole, so a caller may stream, or count in SQL.

    Returns:
        (len(bins.cuts) + 1,) integers.
    """
    sample = _array(values)
    size = len(bins.cuts) + 1
    if np.issubdtype(sample.dtype, np.floating):
        sample = sample[~np.isnan(sample)]
    cuts = np.asarray(bins.cuts)
    if bins.kind == "amount":
        # A few comparisons of whole columns, which numpy vectorises; a search for each value it does not.
        reached = [np.count_nonzero(sample <= cut) for cut in cuts]
        return np.array([0, *reached, sample.size])[1:] - np.array([0, *reached])
    # A code file holds a handful of distinct values in millions of rows: count those first.
    distinct = pl.Series("value", sample).value_counts(name="rows")
    found, rows = distinct["value"].to_numpy(), distinct["rows"].to_numpy()
    position = np.searchsorted(cuts, found)
    known = cuts[np.minimum(position, size - 2)] == found
    totals = np.bincount(np.where(known, position, size - 1), weights=rows, minlength=size)
    return totals.astype(np.int64)


# --- the index ---------------------------------------------------------------------------------------


BIN_SCHEMA: dict[str, type[pl.DataType]] = {
    "bin": pl.Int32,
    "label": pl.String,
    "reference_share": pl.Float64,
    "current_share": pl.Float64,
    "contribution": pl.Float64,
}


@dataclass(frozen=True)
class PsiResult:
    """The index of one variable in one month.

    Args:
        value: the index, or None when it cannot be computed.
        band: stable, moderate, significant, or "not run" when there is no value.
        reference_rows, current_rows: rows behind the two sides; missing values are not among them.
        missing: current rows without a value.
        bins: columns bin (0-based), label, reference_share, current_share, contribution; empty when there
            is no value. Shares are the true ones; the floor of the module's docstring only enters the
            contribution.
        reason: why there is no value.
    """

    value: float | None
    band: StabilityBand
    reference_rows: int
    current_rows: int
    missing: int = 0
    bins: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=BIN_SCHEMA))
    reason: str | None = None


def psi(bins: ReferenceBins, current: ArrayLike | pl.Series | None) -> PsiResult:
    """The index of a month's values against the reference.

    Args:
        bins: the frozen reference.
        current: (n,) values of the month, or None where the variable is absent.

    Returns:
        The index, or a result without a value and with the reason.
    """
    if current is None:
        return _not_run(bins, "the variable is absent")
    sample = _array(current)
    found = counts(bins, sample)
    return psi_from_counts(bins, found, missing=sample.size - int(found.sum()))


def psi_from_counts(bins: ReferenceBins, current: ArrayLike, missing: int = 0) -> PsiResult:
    """The same from counts per bin, as `counts` or a query gives them.

    Args:
        bins: the frozen reference.
        current: (len(bins.cuts) + 1,) rows of the month in each bin.
        missing: rows without a value.

    Raises:
        ValueError: there are not as many counts as bins.
    """
    found = np.asarray(current, dtype=np.int64)
    if found.shape != (len(bins.reference),):
        raise ValueError(f"expected {len(bins.reference)} counts, found {found.shape}")
    rows = int(found.sum())
    if not rows:
        return _not_run(bins, f"all {missing:,} values are missing" if missing else "no rows", missing)
    reference = np.asarray(bins.reference) / bins.rows
    shares = found / rows
    contribution = contributions(reference, shares, floor=share_floor(bins.rows, rows))
    value = float(contribution.sum())
    table = pl.DataFrame(
        [np.arange(found.size), list(bins.labels), reference, shares, contribution], schema=BIN_SCHEMA
    )
    return PsiResult(value, band(value), bins.rows, rows, missing, table)


def contributions(reference: ArrayLike, current: ArrayLike, *, floor: float) -> Floats:
    """What each bin adds to the index; both (k,) shares are held at or above `floor` first."""
    before, after = (np.maximum(np.asarray(side, dtype=np.float64), floor) for side in (reference, current))
    return (after - before) * np.log(after / before)


def share_floor(reference_rows: int, current_rows: int) -> float:
    """The smallest share that counts: 1e-4, or half a row of the smaller sample if that is more."""
    return max(SHARE_FLOOR, 0.5 / min(reference_rows, current_rows))


def band(value: float) -> StabilityBand:
    """The trade's reading of an index."""
    if value < MODERATE:
        return "stable"
    return "moderate" if value < SIGNIFICANT else "significant"


def _not_run(bins: ReferenceBins, reason: str, missing: int = 0) -> PsiResult:
    return PsiResult(None, "not run", bins.rows, 0, missing, reason=reason)


# --- values and texts --------------------------------------------------------------------------------


def _array(values: ArrayLike | pl.Series) -> NDArray[Any]:
    """A numeric column; missing values become NaN, also those of whole-number columns."""
    column = values.to_numpy() if isinstance(values, pl.Series) else np.asarray(values)
    return column if np.issubdtype(column.dtype, np.number) else column.astype(np.float64)


def _texts(cuts: tuple[float, ...]) -> list[str]:
    """The cuts as short numbers that still differ from one another."""
    if all(cut == int(cut) for cut in cuts):
        return [f"{int(cut):,}" for cut in cuts]
    for digits in range(3, 18):
        texts = [_number(cut, digits) for cut in cuts]
        if len(set(texts)) == len(cuts):
            return texts
    return [repr(cut) for cut in cuts]


def _number(value: float, digits: int) -> str:
    text = f"{value:,.{digits}g}"
    return f"{value:,.0f}" if "e+" in text else text  # 123,456 reads better than 1.23e+05
