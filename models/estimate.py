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

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr

from models.metrics import METRIC_NAMES, Metric

Floats = NDArray[np.float64]

# Standard deviation of the ROC AUC that outcomes drawn from the PDs would give.
AUC_DEVIATION = "roc_auc_sd"
ESTIMATED_NAMES: tuple[str, ...] = (*METRIC_NAMES, AUC_DEVIATION)
_RANKING = ("roc_auc", "gini", "average_precision", "ks", AUC_DEVIATION)
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
    figures = _ranking_metrics(p, ranks) | _probability_metrics(p)
    return {name: figures[name] for name in ESTIMATED_NAMES}


def _probability_metrics(p: Floats) -> dict[str, Metric]:
    mean = Metric(float(p.mean()))
    return {
        "brier": Metric(float((p * (1 - p)).mean())),
        "log_loss": Metric(float((entr(p) + entr(1 - p)).mean())),
        "ece": Metric(None, _TAKEN_AS_CALIBRATED),
        "observed_rate": mean,
        "mean_pd": mean,
    }


def _ranking_metrics(p: Floats, ranks: Floats) -> dict[str, Metric]:
    # The probability that two clients drawn in turn are a defaulter and a non-defaulter, times n².
    pairs = p.sum() * (1 - p).sum() - (p * (1 - p)).sum()
    if not pairs > 0:
        return dict.fromkeys(_RANKING, Metric(None, _no_pairs(p)))
    group = np.unique(ranks, return_inverse=True)[1]
    bad, good = np.bincount(group, weights=p), np.bincount(group, weights=1 - p)
    # Of each client: expected non-defaulters that rank below, defaulters above; of those tied with it half.
    below = (np.cumsum(good) - good / 2)[group] - (1 - p) / 2
    above = (bad.sum() - np.cumsum(bad) + bad / 2)[group] - p / 2
    # Rounding alone would lift a perfect ranking above 1.
    area = min(float((p * below).sum() / pairs), 1.0)
    # By how much the AUC moves with the outcome of each client, around the expected one.
    pull = (below - above - area * ((1 - p).sum() - p.sum() + 2 * p - 1)) / pairs
    hits, alarms = (np.cumsum(side[::-1]) for side in (bad, good))
    return {
        "roc_auc": Metric(area),
        "gini": Metric(2 * area - 1),
        "average_precision": Metric(float((bad[::-1] * hits / (hits + alarms)).sum() / hits[-1])),
        "ks": Metric(float(np.abs(hits / hits[-1] - alarms / alarms[-1]).max())),
        AUC_DEVIATION: Metric(float(np.sqrt((p * (1 - p) * pull**2).sum()))),
    }


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


def _checked(pd: ArrayLike, rank_by: ArrayLike | None) -> tuple[Floats, Floats]:
    """PDs and ranks, in ascending order of the PD so that no sum depends on the order of the rows."""
    p = np.asarray(pd, dtype=np.float64)
    ranks = p if rank_by is None else np.asarray(rank_by, dtype=np.float64)
    if p.ndim != 1 or p.shape != ranks.shape:
        raise ValueError(f"PDs {p.shape} and ranks {ranks.shape} must be two equal columns")
    if not ((p >= 0) & (p <= 1)).all():  # written so that a NaN fails too
        raise ValueError("a PD lies outside [0, 1] or is not a number")
    if np.isnan(ranks).any():
        raise ValueError("a rank is not a number")
    order = np.argsort(p) if rank_by is None else np.lexsort((ranks, p))
    return p[order], ranks[order]
