"""How well a PD ranks, separates and states the risk, computed against realised outcomes.

Every figure is a `Metric`: a value, or None with the reason why it cannot be computed. A month with one
class only is a normal month, so it gives reasons instead of an exception or a NaN.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import (
    auc,
    average_precision_score,
    brier_score_loss,
    log_loss,
    roc_curve,
)

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

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]


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
    labels, scores = _checked(y, pd)
    if not labels.size:
        return {name: Metric(None, "no rows") for name in METRIC_NAMES}
    figures = _ranking_metrics(labels, scores) | _probability_metrics(labels, scores)
    return {name: figures[name] for name in METRIC_NAMES}


def _ranking_metrics(y: Labels, pd: Floats) -> dict[str, Metric]:
    reason = _one_class(y)
    if reason is not None:
        return {name: Metric(None, reason) for name in _RANKING}
    # One curve serves both. It steps over groups of equal scores, so a tie never splits the distributions.
    false_alarms, hits, _ = roc_curve(y, pd, drop_intermediate=False)
    area = float(auc(false_alarms, hits))
    return {
        "roc_auc": Metric(area),
        "gini": Metric(2 * area - 1),
        "average_precision": Metric(float(average_precision_score(y, pd))),
        "ks": Metric(float(np.abs(hits - false_alarms).max())),
    }


def _probability_metrics(y: Labels, pd: Floats) -> dict[str, Metric]:
    return {
        "brier": Metric(float(brier_score_loss(y, pd, pos_label=1))),
        "log_loss": Metric(float(log_loss(y, pd, labels=[0, 1]))),
        "ece": Metric(expected_calibration_error(y, pd)),
        "observed_rate": Metric(float(y.mean())),
        "mean_pd": Metric(float(pd.mean())),
    }


def expected_calibration_error(y: ArrayLike, pd: ArrayLike, bins: int = ECE_BINS) -> float:
    """Mean distance between observed rate and mean PD over equal-count bins, weighted by rows.

    Equal PDs always share a bin, so the result does not depend on the order of the rows.

    Raises:
        ValueError: there are no rows, or the input is refused as in `classification_metrics`.
    """
    labels, scores = _checked(y, pd)
    if not labels.size:
        raise ValueError("no rows")
    index = equal_count_bins(scores, bins)
    return float(np.abs(np.bincount(index, weights=labels - scores)).sum() / labels.size)


def equal_count_bins(pd: Floats, bins: int = ECE_BINS) -> NDArray[np.intp]:
    """(n,) number of each row's bin, from 0; bins hold about equally many rows, and equal PDs share one."""
    edges = np.unique(np.quantile(pd, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf"))
    return np.searchsorted(edges, pd, side="left")


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


def _one_class(y: Labels) -> str | None:
    defaulters = int(y.sum())
    if 0 < defaulters < y.size:
        return None
    return f"one class only: {defaulters:,} defaulters among {y.size:,} clients"
