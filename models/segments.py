"""Where a PD holds and where it does not: discrimination and calibration by group of client.

A `Dimension` divides the clients into ordered groups: by what the bank steers with (`SEGMENTS`) and by what a
decision must not rest on (`PROTECTED`). A group's label says what it holds, and its position is the same in
every month, whether or not a month has clients of the groups before it.

Intervals are 95 % intervals: of the default rate Jeffreys' (Brown, Cai & DasGupta 2001, "Interval estimation
for a binomial proportion", Statistical Science 16), of the AUC DeLong's (DeLong, DeLong & Clarke-Pearson
1988, "Comparing the areas under two or more correlated receiver operating characteristic curves",
Biometrics 44).
A group that is too small for an AUC has none and says why. Many groups are looked at and nothing corrects for
it: of twenty groups whose PDs are right, about one has a p-value below 0.05.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from creditflow.columns import OUTCOME
from models.backtest import jeffreys_interval, jeffreys_test
from models.discrimination import Interval, Placements, interval_of
from models.metrics import Metric
from models.stability import ReferenceBins

GroupKind = Literal["segment", "protected"]

MIN_CLIENTS = 100
MIN_DEFAULTERS = 20
NOT_RECEIVED = "outcomes not yet received"
OTHER_CODES = "other codes"
NOT_STATED = "not stated"

SEGMENT_SCHEMA: dict[str, type[pl.DataType]] = {
    "dimension": pl.String,
    "kind": pl.String,
    "position": pl.Int32,
    "group_label": pl.String,
    "clients": pl.Int64,
    "known": pl.Int64,
    "defaulters": pl.Int64,
    "mean_pd": pl.Float64,
    "expected": pl.Float64,
    "default_rate": pl.Float64,
    "rate_low": pl.Float64,
    "rate_high": pl.Float64,
    "jeffreys_p": pl.Float64,
    "auc": pl.Float64,
    "auc_low": pl.Float64,
    "auc_high": pl.Float64,
    "flagged": pl.Int64,
    "reason": pl.String,
}


# --- dimensions --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grouping:
    """The groups of one dimension.

    Args:
        labels: of all groups in order, each once; the last is for clients without a value.
        position: whole number from 0, the client's place in `labels`.
    """

    labels: tuple[str, ...]
    position: pl.Expr

    @property
    def label(self) -> pl.Expr:
        """The client's label, as an `Enum` that sorts in the order of the groups."""
        places = dict(enumerate(self.labels))
        return self.position.cast(pl.Int32).replace_strict(places, return_dtype=pl.Enum(self.labels))


@dataclass(frozen=True)
class Dimension:
    """One way to divide the clients.

    Args:
        name: as tables keep it.
        title: in words.
        kind: "segment" or "protected".
        grouping: the groups, given the cuts of the credit limit (which only the limit band looks at).
    """

    name: str
    title: str
    kind: GroupKind
    grouping: Callable[[Sequence[float]], Grouping]


def _by_limit(cuts: Sequence[float]) -> Grouping:
    if not all(map(math.isfinite, cuts)):
        raise ValueError("the cuts of the credit limit must be finite numbers")
    edges = tuple(map(float, cuts))
    # Labelled like the bins of the reference; without an edge there is one group.
    bins = ReferenceBins("amount", edges, (0,) * (len(edges) + 1))
    limit = _number("limit_bal")
    return _bands(bins.labels if edges else ("every limit",), limit, (limit > edge for edge in edges))


def _by_utilisation(_: Sequence[float]) -> Grouping:
    limit = _number("limit_bal")
    share = _number("bill_amt1") / pl.when(limit > 0).then(limit)
    labels = (
        "no balance or in credit",
        "up to 10 %",
        "10 – 30 %",
        "30 – 50 %",
        "50 – 75 %",
        "75 – 100 %",
        "above the limit",
    )
    return _bands(labels, share, (share > cut for cut in (0, 0.1, 0.3, 0.5, 0.75, 1)))


def _by_age(_: Sequence[float]) -> Grouping:
    age = _number("age")
    labels = ("under 25", "25 – 34", "35 – 44", "45 – 54", "55 – 64", "65 and over")
    return _bands(labels, age, (age >= first for first in (25, 35, 45, 55, 65)))


def _by_delinquency(_: Sequence[float]) -> Grouping:
    early = {-2: "no consumption", -1: "paid in full", 0: "revolving credit"}
    late = {1: "1 month late", 2: "2 months late"} | dict.fromkeys(range(3, 10), "3 months late or more")
    return _codes("pay_1", early | late)


def _by_code(column: str, meanings: Mapping[int, str]) -> Callable[[Sequence[float]], Grouping]:
    return lambda _: _codes(column, meanings)


def _number(column: str) -> pl.Expr:
    # A NaN would count as the greatest of all values.
    return pl.col(column).cast(pl.Float64).fill_nan(None)


def _bands(labels: tuple[str, ...], value: pl.Expr, reached: Iterable[pl.Expr]) -> Grouping:
    """A client's band is the number of the band edges that the value reached."""
    edges = pl.sum_horizontal(pl.lit(0), *reached, ignore_nulls=False)
    return Grouping((*labels, NOT_STATED), pl.when(value.is_null()).then(len(labels)).otherwise(edges))


def _codes(column: str, meanings: Mapping[int, str]) -> Grouping:
    """One group a meaning, in the order given; codes without one share a group."""
    labels = (*dict.fromkeys(meanings.values()), OTHER_CODES, NOT_STATED)
    places = {float(code): labels.index(meaning) for code, meaning in meanings.items()}
    code = _number(column)
    place = code.replace_strict(places, default=labels.index(OTHER_CODES), return_dtype=pl.Int32)
    return Grouping(labels, pl.when(code.is_null()).then(labels.index(NOT_STATED)).otherwise(place))


SEGMENTS: tuple[Dimension, ...] = (
    Dimension("limit_band", "Credit limit", "segment", _by_limit),
    Dimension(
        "education",
        "Education",
        "segment",
        _by_code("education", {1: "graduate school", 2: "university", 3: "high school", 4: "others"}),
    ),
    Dimension("utilisation", "Utilisation: newest bill over credit limit", "segment", _by_utilisation),
    Dimension("delinquency", "Delinquency: newest payment status", "segment", _by_delinquency),
)
PROTECTED: tuple[Dimension, ...] = (
    Dimension("sex", "Sex", "protected", _by_code("sex", {1: "male", 2: "female"})),
    Dimension("age_band", "Age", "protected", _by_age),
    Dimension(
        "marriage", "Marriage", "protected", _by_code("marriage", {1: "married", 2: "single", 3: "others"})
    ),
)


# --- groups ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """The clients of one group; there is at least one.

    Args:
        position: place of the group among all groups of its dimension, from 0.
        label: what the group holds, in words.
        clients: columns `pd` (ascending), `flagged` and `defaulted`, null where not known.
    """

    position: int
    label: str
    clients: pl.DataFrame

    @cached_property
    def known(self) -> pl.DataFrame:
        """The clients whose outcome is known."""
        return self.clients.drop_nulls(OUTCOME)

    @property
    def defaulters(self) -> int:
        """Clients who are known to have defaulted."""
        return int(self.known[OUTCOME].sum())

    @property
    def expected(self) -> float:
        """Defaults that the PDs state for the clients of known outcome."""
        return _sum(self.known["pd"])

    @property
    def mean_pd(self) -> float:
        """Over all clients."""
        return _sum(self.clients["pd"]) / self.clients.height


def groups(
    frame: pl.DataFrame | Iterable[pl.DataFrame],
    dimensions: Sequence[Dimension],
    limit_cuts: Sequence[float] = (),
) -> Iterator[tuple[Dimension, list[Group]]]:
    """Each dimension with its groups in order; a group without clients is left out.

    Args:
        frame: in one or in parts, one row a client: `pd`; `flagged`, null where no cut-off is known;
            `defaulted`, 0 or 1, null while unknown; and the attributes that the dimensions are made of.
        dimensions: how to divide.
        limit_cuts: ascending upper edges of the limit bands, in the currency of the file.

    Raises:
        ValueError: a column is missing, a PD is null or outside [0, 1], an outcome is neither 0 nor 1, or
            the cuts do not ascend or are not finite.
    """
    groupings = {dimension.name: dimension.grouping(limit_cuts) for dimension in dimensions}
    frames = [frame] if isinstance(frame, pl.DataFrame) else frame
    parts = [_divided(part, groupings) for part in frames]
    if not parts:
        return
    # Ascending PDs make every sum of them independent of the order of the rows.
    clients = pl.concat(parts).sort("pd")
    for dimension in dimensions:
        members = clients.select("pd", "flagged", OUTCOME, dimension.name).partition_by(
            dimension.name, include_key=False, as_dict=True, maintain_order=True
        )
        labels = groupings[dimension.name].labels
        yield dimension, [Group(place, labels[place], members[(place,)]) for (place,) in sorted(members)]


def _divided(frame: pl.DataFrame, groupings: Mapping[str, Grouping]) -> pl.DataFrame:
    places = [grouping.position.cast(pl.Int8).alias(name) for name, grouping in groupings.items()]
    try:
        clients = frame.select(
            pl.col("pd").cast(pl.Float64),
            pl.col("flagged").cast(pl.Boolean),
            # Read as it is, so that an outcome of 1.5 is refused and not cut down to 1.
            pl.col(OUTCOME).cast(pl.Float64),
            *places,
        )
    except pl.exceptions.ColumnNotFoundError as error:
        raise ValueError(f"a column is missing: {error}") from error
    if not clients["pd"].is_between(0, 1).fill_null(False).all():
        raise ValueError("a PD lies outside [0, 1] or is not a number")
    if not clients[OUTCOME].drop_nulls().is_in([0.0, 1.0]).all():
        raise ValueError("an outcome is neither 0 nor 1")
    return clients.cast({OUTCOME: pl.Int8})


def _sum(values: pl.Series) -> float:
    return float(np.sum(_floats(values)))


def _floats(values: pl.Series) -> NDArray[np.float64]:
    return values.to_numpy()


# --- the table ---------------------------------------------------------------------------------------


def segment_table(
    frame: pl.DataFrame,
    limit_cuts: Sequence[float],
    min_clients: int = MIN_CLIENTS,
    min_defaulters: int = MIN_DEFAULTERS,
) -> pl.DataFrame:
    """Discrimination and calibration of every group of `SEGMENTS` and `PROTECTED`.

    Args:
        frame: as `groups` takes it.
        limit_cuts: ascending upper edges of the limit bands.
        min_clients: known outcomes that an AUC needs.
        min_defaulters: defaulters that an AUC needs, and as many non-defaulters.

    Returns:
        One row a dimension and group, in order, with the columns of `SEGMENT_SCHEMA`. `mean_pd` is over all
        clients; `expected` is the sum of the PDs of those whose outcome is known, and the default rate, its
        interval and `jeffreys_p` (small where more defaulted than the PDs state) are theirs as well.
        `flagged` is null where no cut-off is known. `reason` says why figures are null.

    Raises:
        ValueError: as `groups`.
    """
    rows = [
        row
        for dimension, members in groups(frame, (*SEGMENTS, *PROTECTED), limit_cuts)
        for row in segment_rows(dimension, members, min_clients, min_defaulters)
    ]
    return pl.DataFrame(rows, schema=SEGMENT_SCHEMA)


def segment_rows(
    dimension: Dimension,
    members: Sequence[Group],
    min_clients: int = MIN_CLIENTS,
    min_defaulters: int = MIN_DEFAULTERS,
) -> list[dict[str, Any]]:
    """Rows of that table, of one dimension."""
    return [
        {"dimension": dimension.name, "kind": dimension.kind}
        | _row(group, _auc(group, min_clients, min_defaulters))
        for group in members
    ]


def _row(group: Group, auc: Interval) -> dict[str, Any]:
    known, defaulters, expected = group.known.height, group.defaulters, group.expected
    unknown = Interval(None, None, None, NOT_RECEIVED)
    rate = jeffreys_interval(known, defaulters) if known else unknown
    # Rounding may carry the mean of PDs of 1 just above 1.
    test = (
        jeffreys_test(known, defaulters, min(expected / known, 1.0)) if known else Metric(None, NOT_RECEIVED)
    )
    reasons = dict.fromkeys(reason for reason in (rate.reason, test.reason, auc.reason) if reason)
    flags = group.clients["flagged"].drop_nulls()
    return {
        "position": group.position,
        "group_label": group.label,
        "clients": group.clients.height,
        "known": known,
        "defaulters": defaulters,
        "mean_pd": group.mean_pd,
        "expected": expected if known else None,
        "default_rate": rate.value,
        "rate_low": rate.low,
        "rate_high": rate.high,
        "jeffreys_p": test.value,
        "auc": auc.value,
        "auc_low": auc.low,
        "auc_high": auc.high,
        "flagged": int(flags.sum()) if flags.len() else None,
        "reason": "; ".join(reasons) or None,
    }


def _auc(group: Group, min_clients: int, min_defaulters: int) -> Interval:
    reason = _too_few(group.known.height, group.defaulters, min_clients, min_defaulters)
    if reason is not None:
        return Interval(None, None, None, reason)
    defaulted = group.known[OUTCOME] == 1
    # Ascending as the group is.
    bad, good = (_floats(group.known["pd"].filter(members)) for members in (defaulted, ~defaulted))
    return interval_of(Placements.of_sorted(bad, good))


def _too_few(known: int, defaulters: int, min_clients: int, min_defaulters: int) -> str | None:
    if not known:
        return NOT_RECEIVED
    if known < min_clients:
        return f"fewer than {min_clients:,} known outcomes: {known:,}"
    if defaulters < min_defaulters:
        return f"fewer than {min_defaulters:,} defaulters: {defaulters:,}"
    if known - defaulters < min_defaulters:
        return f"fewer than {min_defaulters:,} non-defaulters: {known - defaulters:,}"
    return None
