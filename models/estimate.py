"""How well a PD will rank and separate, told from the PDs alone while no outcome is known.

Confidence-based performance estimation (CBPE): where PDs are calibrated, client i defaults with probability
p_i, and every figure that outcomes would give has an expectation in closed form. A month is estimated when it
is scored and held against the truth when its outcomes come.

What it takes for granted, and cannot notice when it does not hold:

- The PDs are calibrated on the clients at hand: of those with PD p, a share p defaults.
- What drives default has not changed since the model was developed (no concept drift). A change in who the
  clients are (covariate shift) is followed as far as the PDs stay calibrated.
- Outcomes are independent of each other given the PDs.

Sources: Garg, Balakrishnan, Lipton, Neyshabur, Sedghi 2022, "Leveraging unlabeled data to predict
out-of-distribution performance" (ICLR), for the use of confidence; NannyML's documentation, "Confidence-based
Performance Estimation (CBPE)", for expected confusion and expected ROC AUC. Unlike there a client is never
paired with itself, which makes the AUC a ratio of exact expectations in samples of any size. The standard
deviation is the delta method on the Hájek projection (van der Vaart 1998, "Asymptotic Statistics", ch. 11).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.metrics import METRIC_NAMES, Metric

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

# Standard deviation of the ROC AUC that outcomes drawn from the PDs would give.
AUC_DEVIATION = "roc_auc_sd"
ESTIMATED_NAMES: tuple[str, ...] = (*METRIC_NAMES, AUC_DEVIATION)
_RANKING = ("roc_auc", "gini", "average_precision", "ks", AUC_DEVIATION)
# Groups that are added at a time.
_BLOCK = 1 << 14
_TAKEN_AS_CALIBRATED = "the estimate takes the PDs as calibrated; only outcomes can tell whether they are"


# ── Figures of a PD ─────────────────────────────────────────────────────────────────────────────


def estimated_metrics(pd: ArrayLike, rank_by: ArrayLike | None = None) -> dict[str, Metric]:
    """What `metrics.classification_metrics` is expected to give once outcomes are known.

    With p the PDs, sorted into groups of equal rank, and sums over all clients:

    - `roc_auc`: Σ p_i (1 - p_j) [i above j, ½ where tied] / Σ p_i (1 - p_j), over pairs i ≠ j; `gini` is
      2·AUC - 1.
    - `average_precision`, `ks`: of the expected curves, whose points are the shares of Σ p and Σ (1 - p) that
      rank at least so high. The realised KS is a largest distance, so in a small month it tends to lie above.
    - `brier`: mean p (1 - p). `log_loss`: mean of -p ln p - (1 - p) ln (1 - p).
    - `observed_rate` and `mean_pd`: mean p. `ece` is none: what is taken for granted cannot be estimated.
    - `roc_auc_sd`: how far the realised ROC AUC strays by chance where the PDs are right.

    Args:
        pd: (n,) calibrated probabilities of default in [0, 1].
        rank_by: (n,) what the clients are ranked by, riskiest highest; by default the PD.

    Returns:
        One `Metric` for each of `ESTIMATED_NAMES`, in that order. Independent of the order of the rows, to
        the last digit where clients are ranked by the PD.

    Raises:
        ValueError: lengths differ, a PD lies outside [0, 1], or a rank is not a number.
    """
    p, ranks = _checked(pd, rank_by)
    if not p.size:
        return {name: Metric(None, "no rows") for name in ESTIMATED_NAMES}
    totals = _totals(p)
    figures = _ranking_metrics(p, ranks, totals) | _probability_metrics(totals)
    return {name: figures[name] for name in ESTIMATED_NAMES}


@dataclass(frozen=True)
class _Totals:
    """Sums over all clients of p, 1 - p, p (1 - p), and the entropy of an outcome."""

    clients: int
    bad: float
    good: float
    spread: float
    entropy: float


def _totals(p: Floats) -> _Totals:
    sums = np.zeros(4)
    for start in range(0, p.size, _BLOCK):
        bad = p[start : start + _BLOCK]
        good = 1 - bad
        sums += bad.sum(), good.sum(), (bad * good).sum(), (_entropy(bad) + _entropy(good)).sum()
    return _Totals(p.size, *map(float, sums))


def _entropy(p: Floats) -> Floats:
    return -p * np.log(np.maximum(p, np.finfo(np.float64).tiny))


def _probability_metrics(totals: _Totals) -> dict[str, Metric]:
    mean = Metric(totals.bad / totals.clients)
    return {
        "brier": Metric(totals.spread / totals.clients),
        "log_loss": Metric(totals.entropy / totals.clients),
        "ece": Metric(None, _TAKEN_AS_CALIBRATED),
        "observed_rate": mean,
        "mean_pd": mean,
    }


def _ranking_metrics(p: Floats, ranks: Floats | None, totals: _Totals) -> dict[str, Metric]:
    # The probability that two clients drawn in turn are a defaulter and a non-defaulter, times n².
    pairs = totals.bad * totals.good - totals.spread
    if not pairs > 0:
        return dict.fromkeys(_RANKING, Metric(None, _no_pairs(p)))
    groups = _Groups.by_pd(p) if ranks is None else _Groups.by_rank(p, ranks)
    area, precision, distance = 0.0, 0.0, 0.0
    for block in groups.blocks():
        # Expected non-defaulters below each group and half of its own; no client is paired with itself.
        below = block.good_before + block.good / 2
        area += float((block.bad * below).sum() - block.spread.sum() / 2)
        hits, alarms = totals.bad - block.bad_before, totals.good - block.good_before
        precision += float((block.bad * hits / (hits + alarms)).sum())
        distance = max(distance, float(np.abs(hits / totals.bad - alarms / totals.good).max()))
    # Rounding alone would lift a perfect ranking above 1.
    area = min(area / pairs, 1.0)
    return {
        "roc_auc": Metric(area),
        "gini": Metric(2 * area - 1),
        "average_precision": Metric(precision / totals.bad),
        "ks": Metric(distance),
        AUC_DEVIATION: Metric(_deviation(groups, area, totals) / pairs),
    }


def _deviation(groups: "_Groups", area: float, totals: _Totals) -> float:
    """Root of Σ p (1 - p) pull², where the pull of a client's outcome on the AUC is linear in its p:
    non-defaulters below less defaulters above, less the area times what the outcome does to the pairs."""
    along, variance = 1 - 2 * area, 0.0
    for block in groups.blocks():
        below = block.good_before + block.good / 2
        above = totals.bad - block.bad_before - block.bad / 2
        fixed = below - above - 0.5 - area * (totals.good - totals.bad - 1)
        pull = fixed + along * block.centre
        variance += float((block.spread * pull**2 + along**2 * block.around).sum())
    return math.sqrt(variance)


# ── Groups of equal rank ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Block:
    """Neighbouring groups of equal rank, from the lowest: sums over the clients of each.

    Args:
        bad, good: of p and 1 - p.
        spread: of p (1 - p).
        centre: mean p, weighted by p (1 - p).
        around: of p (1 - p) (p - centre)², 0 where all have one PD.
        bad_before, good_before: of all groups that rank lower.
    """

    bad: Floats
    good: Floats
    spread: Floats
    centre: Floats
    around: Floats
    bad_before: Floats
    good_before: Floats


@dataclass(frozen=True)
class _Groups:
    """Clients of equal rank, from the lowest, as rows of one PD each.

    Args:
        p: (k,) PDs.
        clients: (k,) how many clients have it.
        group: (k,) number of the row's group, ascending; None where each row is one.
    """

    p: Floats
    clients: Whole
    group: NDArray[np.intp] | None

    @classmethod
    def by_pd(cls, p: Floats) -> Self:
        """From ascending PDs."""
        ends = np.flatnonzero(np.append(p[1:] != p[:-1], True))
        return cls(p[ends], np.diff(ends, prepend=-1), None)

    @classmethod
    def by_rank(cls, p: Floats, ranks: Floats) -> Self:
        return cls(p, np.ones(p.size, dtype=np.int64), np.unique(ranks, return_inverse=True)[1])

    def blocks(self) -> Iterator[_Block]:
        """All groups, some at a time, so that what a block needs stays in the processor's cache."""
        bad_before = good_before = 0.0
        # Rows that share a group stay together.
        step = _BLOCK if self.group is None else max(self.p.size, 1)
        for start in range(0, self.p.size, step):
            part = slice(start, start + step)
            bad, good, spread, centre, around = self._sums(self.p[part], self.clients[part])
            lower_bad, lower_good = (np.cumsum(side) - side for side in (bad, good))
            before = bad_before + lower_bad, good_before + lower_good
            yield _Block(bad, good, spread, centre, around, *before)
            bad_before, good_before = bad_before + float(bad.sum()), good_before + float(good.sum())

    def _sums(self, p: Floats, clients: Whole) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        bad, good = clients * p, clients * (1 - p)
        spread = good * p
        if self.group is None:
            return bad, good, spread, p, np.zeros_like(p)
        group = self.group

        def added(rows: Floats) -> Floats:
            return np.asarray(np.bincount(group, weights=rows), dtype=np.float64)

        spreads = added(spread)
        centre = np.divide(added(spread * p), spreads, out=np.zeros_like(spreads), where=spreads > 0)
        return added(bad), added(good), spreads, centre, added(spread * (p - centre[group]) ** 2)


def _no_pairs(p: Floats) -> str:
    if p.size == 1:
        return "one client only"
    certain = "defaults" if p[0] == 1 else "does not default"
    return f"one class only: by its PD every one of {p.size:,} clients {certain} for certain"


# ── Figures of a decision ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class ExpectedConfusion:
    """Expected counts of clients where those whose PD reaches `threshold` are called defaulters.

    Counts are no whole numbers: a client of PD 0.3 that is called a defaulter is 0.3 of a hit and 0.7 of a
    false alarm.
    """

    threshold: float
    hits: float
    false_alarms: float
    misses: float
    rejections: float

    @property
    def precision(self) -> Metric:
        """Share of the flagged that default."""
        return _ratio(self.hits, self.hits + self.false_alarms, "no client is flagged")

    @property
    def recall(self) -> Metric:
        """Share of the defaulters that are flagged."""
        return _ratio(self.hits, self.hits + self.misses, "no default is expected")

    @property
    def accuracy(self) -> Metric:
        """Share of the clients that are called what they turn out to be."""
        right, wrong = self.hits + self.rejections, self.false_alarms + self.misses
        return _ratio(right, right + wrong, "no rows")


def expected_confusion(pd: ArrayLike, threshold: float) -> ExpectedConfusion:
    """The confusion matrix at one cut-off that calibrated PDs lead one to expect.

    Raises:
        ValueError: a PD lies outside [0, 1].
    """
    p, _ = _checked(pd, None)
    flagged = p >= threshold
    called, passed = p[flagged], p[~flagged]
    sums = called.sum(), (1 - called).sum(), passed.sum(), (1 - passed).sum()
    return ExpectedConfusion(threshold, *map(float, sums))


def _ratio(part: float, whole: float, reason: str) -> Metric:
    return Metric(part / whole) if whole > 0 else Metric(None, reason)


# ── Input ───────────────────────────────────────────────────────────────────────────────────────


def _checked(pd: ArrayLike, rank_by: ArrayLike | None) -> tuple[Floats, Floats | None]:
    """PDs and ranks, in ascending order of the PD so that no sum depends on the order of the rows."""
    p = np.asarray(pd, dtype=np.float64)
    ranks = None if rank_by is None else np.asarray(rank_by, dtype=np.float64)
    if p.ndim != 1 or (ranks is not None and p.shape != ranks.shape):
        shape = p.shape if ranks is None else ranks.shape
        raise ValueError(f"PDs {p.shape} and ranks {shape} must be two equal columns")
    if not ((p >= 0) & (p <= 1)).all():  # written so that a NaN fails too
        raise ValueError("a PD lies outside [0, 1] or is not a number")
    if ranks is None:
        return np.sort(p), None
    if np.isnan(ranks).any():
        raise ValueError("a rank is not a number")
    order = np.lexsort((ranks, p))
    return p[order], ranks[order]
