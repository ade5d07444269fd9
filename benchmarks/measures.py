"""The statistics of the model comparison. Pure functions of outcomes and scores.

Intervals come from a paired bootstrap over the clients who were scored: every model is measured on the same
draws, so that what clients have in common cancels in a difference. They say how far the choice of test
clients moves a figure, not how far another training sample would.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from models.calibration import ece_noise_floor
from models.gate import Ranked, resampled
from models.metrics import classification_metrics, threshold_metrics

DRAWS = 2_000
SEED = 42
FIGURES = ("roc_auc", "average_precision", "ks", "brier", "ece")

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


# ── Figures of one model ────────────────────────────────────────────────────────────────────────


def figures_of(y: Labels, score: Floats, *, is_pd: bool) -> dict[str, float]:
    """`FIGURES` of a score (n,) against outcomes (n,), and the noise floor of its ECE.

    A score that is no probability has neither Brier score nor ECE.
    """
    # Ranks keep the order and the ties, which is all that the first three figures look at.
    found = classification_metrics(y, score if is_pd else rankdata(score) / len(score))
    wanted = FIGURES if is_pd else FIGURES[:3]
    figures = {name: float(value) for name in wanted if (value := found[name].value) is not None}
    return figures | ({"ece_floor": ece_noise_floor(score, SEED)} if is_pd else {})


def mean_of(folds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each figure over the folds."""
    return {name: float(np.mean([fold[name] for fold in folds])) for name in folds[0]}


# ── Paired bootstrap ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Difference:
    """A difference of ROC AUC with the 95 % interval of its bootstrap distribution."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bootstrapped:
    """Mean ROC AUC over the folds, and the same over each of the draws (draws,)."""

    value: float
    draws: Floats

    def minus(self, other: "Bootstrapped") -> Difference:
        """This model against another one measured on the same draws."""
        gaps = self.draws - other.draws
        low, high = np.quantile(gaps, [0.025, 0.975])
        return Difference(self.value - other.value, float(low), float(high))


Fold = tuple[Labels, Sequence[Floats]]


def bootstrap_auc(folds: Sequence[Fold], draws: int = DRAWS, seed: int = SEED) -> list[Bootstrapped]:
    """ROC AUC of several models on the same resamples of the clients, one result a model.

    Args:
        folds: for each fold the outcomes (n,) and every model's scores, each (n,). A fold's clients are drawn
            with replacement among themselves, and a draw's figure is the mean over the folds, as the headline
            is. A single split is one fold.
        draws: how many resamples.
        seed: of the draws.

    Raises:
        ValueError: a resample holds one class only, where there is no AUC.
    """
    sums = [np.zeros(draws) for _ in folds[0][1]]
    values = [0.0 for _ in folds[0][1]]
    for number, (y, scores) in enumerate(folds):
        ranked = [Ranked.of(y == 1, score) for score in scores]
        done = 0
        for weights in resampled(y.size, draws, np.random.default_rng([seed, number])):
            for total, model in zip(sums, ranked, strict=True):
                total[done : done + len(weights)] += model.auc(weights)
            done += len(weights)
        values = [v + float(m.auc(np.ones((1, y.size)))[0]) for v, m in zip(values, ranked, strict=True)]
    if not all(np.isfinite(total).all() for total in sums):
        raise ValueError("a resample holds one class only: too few clients of the other")
    return [Bootstrapped(v / len(folds), s / len(folds)) for v, s in zip(values, sums, strict=True)]


# ── Decisions ───────────────────────────────────────────────────────────────────────────────────


def recall_cut(y: Labels, score: Floats, recall: float) -> float:
    """The highest score at which `recall` of the defaulters among (n,) clients is reached."""
    return float(np.quantile(score[y == 1], 1 - recall, method="lower"))


def at_cut(y: Labels, score: Floats, cut: float) -> dict[str, float]:
    """Recall and precision of the defaulters, and accuracy, when scores from `cut` on are called defaults."""
    called = threshold_metrics(y, (score >= cut).astype(np.float64), 0.5)
    row = called.classes[1]
    found = {"recall": row.recall.value, "precision": row.precision.value, "accuracy": called.accuracy.value}
    return {"cut": cut} | {name: float(value) for name, value in found.items() if value is not None}
