"""A training set beyond the limit: how many rows each stratum gives, and what leaving the others out costs.

Strata are month and outcome. Proportional allocation keeps the seasons and the default rate of the pool, so
that the PDs of a sample need no correction (Cochran 1977, "Sampling Techniques", 3rd ed., section 5.5).

What a cut costs cannot be seen from what was left out, but from what was kept: logistic regression is fitted
again on half and on a quarter of its fit rows, and ranks the same held-out clients.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from creditflow.columns import OUTCOME
from models.baselines import make_logistic
from models.develop import Parts, halved, split
from models.discrimination import auc_difference, auc_interval
from models.features import FeatureSet, Policy
from models.registry import raw_score

Stratum = tuple[str, int]
Floats = NDArray[np.float64]


def allocate(pool: Mapping[Stratum, int], rows: int) -> dict[Stratum, int]:
    """Rows that each stratum gives: its share of `rows`, rounded by the largest remainder.

    Each gets the whole part of rows · size / total; what is left goes, a row each, to those with the largest
    fractions, the first in order among equals (Hamilton's method). In whole numbers, so without rounding.

    Args:
        pool: rows of each stratum, at least 0.
        rows: of the sample; where the pool holds no more, all of it is taken.
    """
    total = sum(pool.values())
    if total <= rows:
        return dict(pool)
    given = {stratum: size * rows // total for stratum, size in pool.items()}
    left = rows - sum(given.values())
    by_fraction = sorted(pool, key=lambda stratum: (-(pool[stratum] * rows % total), stratum))
    return given | {stratum: given[stratum] + 1 for stratum in by_fraction[:left]}


# ── What it costs ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Step:
    """Logistic regression fitted on a share of the fit rows.

    ROC AUC on the held-out clients with its 95 % interval, and how far it lies below that of all fit rows,
    with the interval of the paired difference; ends are None where DeLong's theory gives none.
    """

    share: float
    fit_rows: int
    roc_auc: float | None
    low: float | None
    high: float | None
    loss: float | None
    loss_low: float | None
    loss_high: float | None


def learning_curve(frame: pl.DataFrame, *, seed: int, attributes: Policy) -> list[Step]:
    """Held-out ROC AUC of logistic regression on a quarter, half and all of the fit rows.

    The split is that of `models.develop`; halves are drawn by client, a quarter from the half.

    Args:
        frame: the training data as `develop` takes it.
        seed: of the split and of the halves.
        attributes: the policy that the models are developed under.

    Raises:
        TrainingRefused: a part holds one class only.
    """
    parts, features = split(frame, seed), FeatureSet(attributes)
    half = halved(parts.fit, seed)
    fits = [halved(half, seed), half, parts.fit]
    scores = [_scores(fit, parts, seed, features) for fit in fits]
    y = parts.held_out[OUTCOME].to_numpy()
    return [
        _step(share, fit.height, y, score, scores[-1])
        for share, fit, score in zip((0.25, 0.5, 1.0), fits, scores, strict=True)
    ]


def _scores(fit: pl.DataFrame, parts: Parts, seed: int, features: FeatureSet) -> Floats:
    estimator = make_logistic(seed, features).fit(features.matrix(fit), fit[OUTCOME].to_numpy())
    return raw_score(estimator, features.matrix(parts.held_out))


def _step(share: float, fit_rows: int, y: NDArray[np.int8], score: Floats, full: Floats) -> Step:
    auc, gap = auc_interval(y, score), auc_difference(y, full, score)
    return Step(share, fit_rows, auc.value, auc.low, auc.high, gap.difference, gap.low, gap.high)


def bound_on_loss(half: Step, pool: int, sample: int) -> float | None:
    """ROC AUC that the whole pool could add at most, if no doubling of the rows adds more than the last did.

    Learning curves flatten, so the last doubling's gain, times the doublings from sample to pool, bounds what
    is left. It speaks of logistic regression; docs/training-sample.md has the other models. None where the
    last doubling is not known.
    """
    if half.loss is None:
        return None
    return max(half.loss, 0.0) * math.log2(pool / sample)
