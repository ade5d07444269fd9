"""How well a PD ranks, separates and states the risk, computed against realised outcomes.

Every figure is a `Metric`: a value, or None with the reason why it cannot be computed. A month with one
class only is a normal month, so it gives reasons instead of an exception or a NaN.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

ECE_BINS = 10
METRIC_NAMES: tuple[str, ...] = (
    "roc_auc",
    "gini",
    "average_precision",
    "ks",
    "brier",
    "log_loss",
    "ece",
    "observed_rate",
    "mean_pd",
)
_RANKING = ("roc_auc", "gini", "average_precision", "ks")

# Numbers that are worked on at a time: few enough to stay in the processor's cache.
_BLOCK = 1 << 14

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
Whole = NDArray[np.int64]
Places = NDArray[np.intp]


@dataclass(frozen=True)
class Metric:
    """One figure: its value, or None and the reason why there is none."""

    value: float | None
    reason: str | None = None

    def __post_init__(self) -> None:
        if (self.value is None) == (self.reason is None):
            raise ValueError("a metric holds either a value or a reason")

    def as_dict(self) -> dict[str, Any]:
        """A form that JSON keeps."""
        return {"value": self.value, "reason": self.reason}


# --- clients in order --------------------------------------------------------------------------------


def ascending(values: Floats) -> tuple[Floats, Places]:
    """The values in ascending order and the place that each had: what `numpy.argsort` gives, but for
    the order of equal values, in less than half the time.

    As whole numbers the bits of a float64 ascend with it, those of a negative one once they are turned round.
    The lowest make room for the value's place, so that one sort of plain numbers orders both; the few values
    that differ in those bits alone are put in order afterwards.
    """
    room = int(values.size).bit_length()
    keys = np.array(values, dtype=np.float64).view(np.int64)
    for start in range(0, keys.size, _BLOCK):
        part = keys[start : start + _BLOCK]
        part ^= (part >> 63) & np.int64(2**63 - 1)
        part &= np.int64(-1 << room)
        part |= np.arange(start, start + part.size)
    keys.sort()
    keys &= np.int64((1 << room) - 1)
    found = values[keys]
    if (found[1:] < found[:-1]).any():
        bits = found.view(np.int64)
        near = (bits[1:] ^ bits[:-1]) < 1 << room
        crowd = np.flatnonzero(np.append(near, False) | np.insert(near, 0, False))
        order = np.argsort(found[crowd], kind="stable")
        found[crowd], keys[crowd] = found[crowd][order], keys[crowd][order]
    return found, keys


@dataclass(frozen=True)
class Ordered:
    """Clients in order: the defaulters first, and each class by ascending PD.

    One sort serves every figure, and no sum over it depends on the order that the rows came in.

    Args:
        pd: (n,) in that order.
        defaulters: how many they are.
    """

    pd: Floats
    defaulters: int

    @classmethod
    def of(cls, y: ArrayLike, pd: ArrayLike) -> Self:
        """Clients in any order, put in order.

        Raises:
            ValueError: as in `classification_metrics`.
        """
        labels, scores = _checked(y, pd)
        # Two sorts of plain numbers, which numpy vectorises; a sort of rows takes twenty times as long.
        classes = [scores[labels == label] for label in (1, 0)]
        for pds in classes:
            pds.sort()
        return cls(np.concatenate(classes), classes[0].size)

    @classmethod
    def with_places(cls, y: ArrayLike, pd: ArrayLike) -> tuple[Self, tuple[Places, Places]]:
        """The same, and of the defaulters and of the others in this order the place that each had among them.

        Raises:
            ValueError: as in `classification_metrics`.
        """
        labels, scores = _checked(y, pd)
        (bad, of_bad), (good, of_good) = (ascending(scores[labels == label]) for label in (1, 0))
        return cls(np.concatenate((bad, good)), bad.size), (of_bad, of_good)

    @property
    def y(self) -> Labels:
        """(n,) outcomes, 0 or 1."""
        return (np.arange(self.pd.size) < self.defaulters).astype(np.int8)

    @property
    def bad(self) -> Floats:
        """PDs of the defaulters, ascending."""
        return self.pd[: self.defaulters]

    @property
    def good(self) -> Floats:
        """PDs of the others, ascending."""
        return self.pd[self.defaulters :]

    @property
    def one_class(self) -> str | None:
        """Why the classes cannot be told apart, if so."""
        return _one_class_of(self.defaulters, self.pd.size)

    @cached_property
    def passed(self) -> tuple[Whole, Whole]:
        """Of each defaulter, ascending, how many others have a lower PD, and how many no higher one."""
        below, reached = (np.searchsorted(self.good, self.bad, side=side) for side in ("left", "right"))
        return below, reached

    @cached_property
    def brier(self) -> float:
        """Mean squared distance of the PD from the outcome."""
        return float((np.square(1 - self.bad).sum() + np.square(self.good).sum()) / self.pd.size)

    @cached_property
    def tenths(self) -> "Bins":
        """Ten groups of about equally many clients by PD."""
        return self.bins(ECE_BINS)

    def bins(self, count: int) -> "Bins":
        """Groups of about equally many clients by PD; equal PDs share one, so that there may be fewer."""
        edges = self._edges(count)
        bad, good = (
            [pds[a:b] for a, b in pairwise((0, *np.searchsorted(pds, edges, side="right"), pds.size))]
            for pds in (self.bad, self.good)
        )
        parts = [pair for pair in zip(bad, good, strict=True) if pair[0].size + pair[1].size]
        return Bins(
            np.array([float(bad.size + good.size) for bad, good in parts]),
            np.array([float(bad.size) for bad, _ in parts]),
            np.array([bad.sum() + good.sum() for bad, good in parts]),
            np.array([min(pds[0] for pds in pair if pds.size) for pair in parts]),
            np.array([max(pds[-1] for pds in pair if pds.size) for pair in parts]),
        )

    def _edges(self, bins: int) -> Floats:
        """As the function of that name finds them, without looking at every client."""
        ranks = np.ceil(self.pd.size * _shares(bins) - 1).clip(0).astype(np.int64)
        return np.unique([_at_rank(self.bad, self.good, int(rank)) for rank in ranks])


@dataclass(frozen=True)
class Bins:
    """Of each group of clients: how many, how many of them defaulted and how many were expected to, and the
    lowest and highest PD."""

    clients: Floats
    defaulters: Floats
    expected: Floats
    low: Floats
    high: Floats


# --- figures of a PD ---------------------------------------------------------------------------------


def classification_metrics(y: ArrayLike, pd: ArrayLike) -> dict[str, Metric]:
    """Ranking, separation and calibration of a PD.

    Args:
        y: (n,) outcomes, 0 or 1.
        pd: (n,) probabilities of default in [0, 1].

    Returns:
        One `Metric` for each of `METRIC_NAMES`, in that order. `roc_auc`, `gini` (2·AUC - 1),
        `average_precision` and `ks` need both classes. `ece` is the expected calibration error over ten
        equal-count bins of the PD (Naeini et al. 2015, with ties kept in one bin).

    Raises:
        ValueError: lengths differ, an outcome is neither 0 nor 1, or a PD lies outside [0, 1].
    """
    return metrics_of(Ordered.of(y, pd))


def metrics_of(clients: Ordered) -> dict[str, Metric]:
    """The same of clients that are in order already."""
    if not clients.pd.size:
        return {name: Metric(None, "no rows") for name in METRIC_NAMES}
    figures = _ranking_metrics(clients) | _probability_metrics(clients)
    return {name: figures[name] for name in METRIC_NAMES}


def _ranking_metrics(clients: Ordered) -> dict[str, Metric]:
    if clients.one_class is not None:
        return {name: Metric(None, clients.one_class) for name in _RANKING}
    defaulters, others = clients.bad.size, clients.good.size
    # Each distinct PD of a defaulter: how many have it, how many reach it; how many others lie below it, how
    # many reach it. The curves bend nowhere else, and a tie never splits them.
    ends, new = _distinct(clients.bad)
    below, reached = (others_passed[ends] for others_passed in clients.passed)
    passed = ends + 1
    # Pairs that are ranked rightly count twice and tied ones once: whole numbers, added without rounding.
    area = int((new * (below + reached)).sum()) / (2 * defaulters * others)
    hits, alarms = defaulters - passed + new, others - below
    before, after = (passed - new) / defaulters - below / others, passed / defaulters - reached / others
    return {
        "roc_auc": Metric(area),
        "gini": Metric(2 * area - 1),
        "average_precision": Metric(float((new * (hits / (hits + alarms))).sum() / defaulters)),
        "ks": Metric(float(max(np.abs(before).max(), np.abs(after).max()))),
    }


def _distinct(in_order: Floats) -> tuple[Places, Whole]:
    """Where each distinct value stands last, and how often it occurs."""
    ends = np.flatnonzero(np.append(in_order[1:] != in_order[:-1], True))
    return ends, np.diff(ends, prepend=-1)


def _probability_metrics(clients: Ordered) -> dict[str, Metric]:
    return {
        "brier": Metric(clients.brier),
        "log_loss": Metric(_log_loss(clients)),
        "ece": Metric(_calibration_error(clients.tenths)),
        "observed_rate": Metric(clients.defaulters / clients.pd.size),
        "mean_pd": Metric(float(clients.pd.mean())),
    }


def _log_loss(clients: Ordered) -> float:
    # A PD of 0 or 1 that was wrong costs much and not everything; as scikit-learn has it.
    edge = np.finfo(np.float64).eps
    right = (np.clip(pds, edge, 1 - edge) for pds in (clients.bad, 1 - clients.good))
    return float(-sum(np.log(pds, out=pds).sum() for pds in right) / clients.pd.size)


def expected_calibration_error(y: ArrayLike, pd: ArrayLike, bins: int = ECE_BINS) -> float:
    """Mean distance between observed rate and mean PD over equal-count bins, weighted by rows.

    Equal PDs always share a bin, so the result does not depend on the order of the rows.

    Raises:
        ValueError: there are no rows, or the input is refused as in `classification_metrics`.
    """
    clients = Ordered.of(y, pd)
    if not clients.pd.size:
        raise ValueError("no rows")
    return _calibration_error(clients.bins(bins))


def _calibration_error(bins: Bins) -> float:
    return float(np.abs(bins.defaulters - bins.expected).sum() / bins.clients.sum())


def equal_count_bins(pd: Floats, bins: int = ECE_BINS) -> NDArray[np.intp]:
    """(n,) number of each row's bin, from 0; bins hold about equally many rows, and equal PDs share one."""
    return np.searchsorted(_edges(pd, bins), pd, side="left")


def _edges(pd: Floats, bins: int) -> Floats:
    """Highest PD of each bin but the last."""
    return np.unique(np.quantile(pd, _shares(bins), method="inverted_cdf"))


def _shares(bins: int) -> Floats:
    """Of the clients up to the end of each bin but the last."""
    return np.linspace(0, 1, bins + 1)[1:-1]


def _at_rank(a: Floats, b: Floats, rank: int) -> float:
    """The value at this place, from 0, of two ascending columns taken together: found by halving."""
    # How many of `a` stand before it; the others before it are of `b`.
    low, high = max(0, rank - b.size), min(rank, a.size)
    while low < high:
        middle = (low + high) // 2
        if a[middle] < b[rank - middle - 1]:
            low = middle + 1
        else:
            high = middle
    return float(min((*a[low : low + 1], *b[rank - low : rank - low + 1])))


# --- figures of a decision ---------------------------------------------------------------------------


@dataclass(frozen=True)
class ClassMetrics:
    """One row of a classification report."""

    precision: Metric
    recall: Metric
    f1: Metric
    support: int


@dataclass(frozen=True)
class ThresholdMetrics:
    """A classification report: clients whose PD reaches `threshold` are called defaulters.

    `classes` holds 0 (non-defaulters) and 1 (defaulters).
    """

    threshold: float
    accuracy: Metric
    classes: dict[int, ClassMetrics]


def threshold_metrics(y: ArrayLike, pd: ArrayLike, threshold: float = 0.5) -> ThresholdMetrics:
    """Accuracy, and precision, recall, F1 and support of each class, at one cut-off.

    A precision without a single prediction, or a recall without a single member, is None with a reason
    (where scikit-learn's report prints 0 and warns).

    Raises:
        ValueError: as in `classification_metrics`.
    """
    labels, scores = _checked(y, pd)
    called = (scores >= threshold).astype(np.int8)
    accuracy = _ratio(int((called == labels).sum()), labels.size, "no rows")
    return ThresholdMetrics(
        threshold, accuracy, {label: _class_metrics(labels == label, called == label) for label in (0, 1)}
    )


def _class_metrics(member: NDArray[np.bool_], called: NDArray[np.bool_]) -> ClassMetrics:
    right, members, calls = (int(mask.sum()) for mask in (member & called, member, called))
    return ClassMetrics(
        precision=_ratio(right, calls, "no client was called a member of this class"),
        recall=_ratio(right, members, "no client belongs to this class"),
        f1=_ratio(2 * right, members + calls, "the class is neither present nor called"),
        support=members,
    )


def _ratio(part: int, whole: int, reason: str) -> Metric:
    return Metric(part / whole) if whole else Metric(None, reason)


# --- input -------------------------------------------------------------------------------------------


def _checked(y: ArrayLike, pd: ArrayLike) -> tuple[Labels, Floats]:
    outcomes, scores = np.asarray(y), np.asarray(pd, dtype=np.float64)
    if outcomes.ndim != 1 or outcomes.shape != scores.shape:
        raise ValueError(f"outcomes {outcomes.shape} and PDs {scores.shape} must be two equal columns")
    if not ((outcomes == 0) | (outcomes == 1)).all():
        raise ValueError("an outcome is neither 0 nor 1")
    if not ((scores >= 0) & (scores <= 1)).all():  # written so that a NaN fails too
        raise ValueError("a PD lies outside [0, 1] or is not a number")
    return outcomes.astype(np.int8), scores


def _one_class_of(defaulters: int, clients: int) -> str | None:
    if 0 < defaulters < clients:
        return None
    return f"one class only: {defaulters:,} defaulters among {clients:,} clients"
