"""How sure one can be of an AUC, and of a difference between two: DeLong's theory, in O(n log n).

The area under the ROC curve is a mean over pairs of a defaulter and a non-defaulter. Its variance follows
from the placements: the share of non-defaulters below each defaulter, and of defaulters above each
non-defaulter (DeLong, DeLong & Clarke-Pearson 1988, "Comparing the areas under two or more correlated
receiver operating characteristic curves", Biometrics 44). Placements are mid-ranks (Sun & Xu 2014, "Fast
implementation of DeLong's algorithm", IEEE Signal Processing Letters 21), so a million clients take about a
second.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import norm, rankdata

from models.metrics import _checked as _checked_pds
from models.metrics import _one_class

LEVEL = 0.95
# Each class needs two members for a variance.
_FEWEST = 2
_UNVARYING = "no interval: the difference is the same on every client"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A figure with the ends of its confidence interval; `reason` says why the ends or all three are None."""

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Difference:
    """Two AUCs on the same clients, `difference` = a - b, with its interval and the two-sided test of
    zero."""

    auc_a: float | None
    auc_b: float | None
    difference: float | None
    low: float | None
    high: float | None
    z: float | None
    p_value: float | None
    reason: str | None = None


# ── Figures ─────────────────────────────────────────────────────────────────────────────────────


def auc_interval(y: ArrayLike, score: ArrayLike, level: float = LEVEL) -> Interval:
    """ROC AUC with DeLong's interval.

    The ends are computed on the logit of the AUC, where they cannot leave (0, 1) and cover better for high
    AUCs (Qin & Hotilovac 2008, "Comparison of non-parametric confidence intervals for the area under the ROC
    curve of a continuous-scale diagnostic test", Statistical Methods in Medical Research 17). They are
    therefore not symmetric, unlike those of R's pROC, which has the same standard error.

    Args:
        y: (n,) outcomes, 0 or 1.
        score: (n,) higher for the riskier client.
        level: of confidence, such as 0.95.

    Raises:
        ValueError: lengths differ, an outcome is neither 0 nor 1, a score is not a number, or the level of
            confidence is outside (0, 1).
    """
    labels, (scores,) = _checked(y, score)
    if (reason := _no_area(labels)) is not None:
        return Interval(None, None, None, reason)
    of_bad, of_good = _placements(labels, scores)
    auc = _area(of_bad, of_good)
    if (reason := _no_variance(labels)) is not None:
        return Interval(auc, None, None, reason)
    if not 0 < auc < 1:
        return Interval(auc, None, None, "no interval: defaulters and others do not overlap")
    error = _error(of_bad, of_good)
    if error == 0:
        return Interval(auc, None, None, "no interval: the score tells no two clients apart")
    centre, half = logit(auc), _quantile(level) * error / (auc * (1 - auc))
    return Interval(auc, float(expit(centre - half)), float(expit(centre + half)))


def auc_difference(y: ArrayLike, a: ArrayLike, b: ArrayLike, level: float = LEVEL) -> Difference:
    """Paired difference of two AUCs on the same clients, with DeLong's interval and test.

    Args:
        y: (n,) outcomes, 0 or 1.
        a: (n,) scores of one model, higher for the riskier client.
        b: (n,) scores of the other.
        level: of confidence.

    Raises:
        ValueError: as in `auc_interval`.
    """
    labels, (first, second) = _checked(y, a, b)
    if (reason := _no_area(labels)) is not None:
        return Difference(None, None, None, None, None, None, None, reason)
    (bad_a, good_a), (bad_b, good_b) = (_placements(labels, scores) for scores in (first, second))
    auc_a, auc_b = _area(bad_a, good_a), _area(bad_b, good_b)
    difference = auc_a - auc_b
    if (reason := _no_variance(labels)) is not None:
        return Difference(auc_a, auc_b, difference, None, None, None, None, reason)
    # The contrast of the placements has the variance that DeLong's covariance matrix gives the difference.
    error = _error(bad_a - bad_b, good_a - good_b)
    if error == 0:
        reason = "the two rank every client alike" if difference == 0 else _UNVARYING
        return Difference(auc_a, auc_b, difference, None, None, None, None, reason)
    half, z = _quantile(level) * error, difference / error
    p_value = float(2 * norm.sf(abs(z)))
    return Difference(auc_a, auc_b, difference, difference - half, difference + half, z, p_value)


def brier_difference(y: ArrayLike, a: ArrayLike, b: ArrayLike, level: float = LEVEL) -> Interval:
    """Brier score of `a` less that of `b` on the same clients, with the normal interval of the paired mean.

    Source: Redelmeier, Bloch & Hickam (1991), "Assessing predictive accuracy: how to compare Brier scores",
    Journal of Clinical Epidemiology 44.

    Args:
        y: (n,) outcomes, 0 or 1.
        a: (n,) PDs of one model, in [0, 1].
        b: (n,) PDs of the other.
        level: of confidence.

    Raises:
        ValueError: lengths differ, an outcome is neither 0 nor 1, a PD lies outside [0, 1], or the level of
            confidence is outside (0, 1).
    """
    (labels, first), (_, second) = _checked_pds(y, a), _checked_pds(y, b)
    if not labels.size:
        return Interval(None, None, None, "no rows")
    # In the order of their size, so that the sum does not depend on the order of the rows.
    gaps = np.sort((labels - first) ** 2 - (labels - second) ** 2)
    mean = float(gaps.mean())
    if labels.size < _FEWEST:
        return Interval(mean, None, None, "one client only")
    if gaps[0] == gaps[-1]:
        return Interval(mean, None, None, _UNVARYING if gaps[0] else "the two state the same PDs")
    half = _quantile(level) * math.sqrt(float(np.var(gaps, ddof=1)) / gaps.size)
    return Interval(mean, mean - half, mean + half)


# ── Steps ───────────────────────────────────────────────────────────────────────────────────────


def _placements(y: NDArray[np.int8], score: Floats) -> tuple[Floats, Floats]:
    """How many non-defaulters rank below each defaulter and defaulters above each non-defaulter; ties half.

    Counts instead of shares: halves add up without rounding, so that an AUC is exact, does not depend on the
    order of the rows, and has a variance of exactly 0 where nothing varies.
    """
    bad, good = score[y == 1], score[y == 0]
    ranks = rankdata(np.concatenate([bad, good]))
    of_bad = ranks[: bad.size] - rankdata(bad)
    of_good = bad.size - (ranks[bad.size :] - rankdata(good))
    return of_bad, of_good


def _area(of_bad: Floats, of_good: Floats) -> float:
    return float(of_bad.sum()) / (of_bad.size * of_good.size)


def _error(of_bad: Floats, of_good: Floats) -> float:
    """Standard error of the area; sorted first, so that it does not depend on the order of the rows."""
    bad, good = (float(np.var(np.sort(counts), ddof=1)) for counts in (of_bad, of_good))
    defaulters, others = of_bad.size, of_good.size
    return math.sqrt(bad / others**2 / defaulters + good / defaulters**2 / others)


def _quantile(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"a level of confidence lies between 0 and 1, not {level!r}")
    return float(norm.ppf((1 + level) / 2))


def _no_area(y: NDArray[np.int8]) -> str | None:
    return _one_class(y) if y.size else "no rows"


def _no_variance(y: NDArray[np.int8]) -> str | None:
    defaulters = int(y.sum())
    if min(defaulters, y.size - defaulters) >= _FEWEST:
        return None
    return f"no interval: {defaulters:,} defaulters among {y.size:,} clients, and each class needs {_FEWEST}"


def _checked(y: ArrayLike, *scores: ArrayLike) -> tuple[NDArray[np.int8], list[Floats]]:
    outcomes, columns = np.asarray(y), [np.asarray(score, dtype=np.float64) for score in scores]
    if outcomes.ndim != 1 or any(column.shape != outcomes.shape for column in columns):
        shapes = [outcomes.shape, *(column.shape for column in columns)]
        raise ValueError(f"outcomes and scores must be equal columns, not {shapes}")
    if not ((outcomes == 0) | (outcomes == 1)).all():
        raise ValueError("an outcome is neither 0 nor 1")
    if any(np.isnan(column).any() for column in columns):
        raise ValueError("a score is not a number")
    return outcomes.astype(np.int8), columns
