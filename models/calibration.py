"""From a raw score to a probability of default, by Platt's method.

A logistic curve is fitted to the scores of rows that the model was not fitted on. Classifiers hand over
probabilities, which are read on the logit scale; anomaly scores are unbounded with a long tail, which
is drawn in by asinh around the median (linear near it, logarithmic far out) so that a few extreme
clients cannot flatten the curve.

Source: Platt (1999), "Probabilistic outputs for support vector machines and comparisons to regularized
likelihood methods", with the smoothed targets of its section 2.2.
"""

from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

Transform = Literal["logit", "asinh"]
# A probability of exactly 0 or 1 has no logit; 1e-12 lies far beyond what any client file can tell apart.
_EDGE = 1e-12
# Keeps every PD inside (0, 1), so that odds and points are always finite: e^-20 is 2 in a billion.
_LIMIT = 20.0
# Standardised scores that differ by less than this over all rows are one score with rounding noise.
_CONSTANT = 1e-6
# Quartiles nearer than this share of the median are one value with rounding noise.
_NOISE = 1e-12
# Dividing any score by less could overflow.
_TINY = 1e-100

Floats = NDArray[np.float64]


class PlattCalibrator:
    """PD = expit(slope · z + intercept), where z is the transformed, standardised score.

    The slope is held at zero or above (constrained maximum likelihood), so a higher score never gives a
    lower PD. A score that ranks the wrong way on the calibration rows therefore gives every client the
    base rate: `is_flat` tells.

    Args:
        transform: "logit" for probabilities, "asinh" for unbounded anomaly scores (higher = riskier).
    """

    def __init__(self, transform: Transform = "logit") -> None:
        if transform not in get_args(Transform):
            raise ValueError(f"transform must be one of {get_args(Transform)}, not {transform!r}")
        self.transform: Transform = transform
        self.center = self.spread = self.slope = self.intercept = float("nan")
        self.rows = self.defaulters = 0

    @property
    def is_flat(self) -> bool:
        """Whether the PD is the same for every client."""
        return self.slope == 0.0

    def fit(self, score: ArrayLike, y: ArrayLike) -> Self:
        """Fit the curve.

        Args:
            score: (n,) raw scores, higher = riskier.
            y: (n,) outcomes, 0 or 1; both must occur.

        Raises:
            ValueError: no rows, one class only, a score that is not finite.
        """
        values, outcomes = np.asarray(score, dtype=np.float64), np.asarray(y).astype(np.int8)
        self.rows, self.defaulters = outcomes.size, int(outcomes.sum())
        if values.shape != outcomes.shape or not np.isfinite(values).all():
            raise ValueError("scores must be finite, one for each outcome")
        if not 0 < self.defaulters < self.rows:
            raise ValueError(f"both classes are needed: {self.defaulters} defaulters in {self.rows} rows")
        self.center, self.spread = self._location(values)
        target = _smoothed_targets(outcomes)
        self.slope, self.intercept = 0.0, float(logit(target.mean()))
        z = self._standardised(values)
        slope, intercept = _logistic_curve(z, target) if np.ptp(z) > _CONSTANT else (0.0, self.intercept)
        if slope > 0:
            self.slope, self.intercept = slope, intercept
        return self

    def predict(self, score: ArrayLike) -> Floats:
        """PDs in (0, 1), one for each of the (n,) scores.

        Raises:
            ValueError: the calibrator was not fitted, or a score is not finite.
        """
        values = np.asarray(score, dtype=np.float64)
        if not self.rows:
            raise ValueError("the calibrator was not fitted")
        if not np.isfinite(values).all():
            raise ValueError("a score is not finite")
        line = self.slope * self._standardised(values) + self.intercept
        return expit(np.clip(line, -_LIMIT, _LIMIT))

    def to_state(self) -> dict[str, Any]:
        """Everything `from_state` needs, as JSON keeps it."""
        return dict(vars(self))

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The calibrator that `to_state` described.

        Raises:
            ValueError: a field is missing or unknown.
        """
        calibrator = cls(state.get("transform", ""))
        if set(state) != set(vars(calibrator)):
            raise ValueError(f"expected the fields {sorted(vars(calibrator))}, found {sorted(state)}")
        vars(calibrator).update(state)
        return calibrator

    def _location(self, values: Floats) -> tuple[float, float]:
        """Centre and spread that put the scores near 0 ± 1; scores without a spread keep their unit."""
        if self.transform == "logit":
            margin = _margin(values)
            return float(margin.mean()), float(margin.std()) or 1.0
        lower, middle, upper = np.quantile(values, (0.25, 0.5, 0.75))
        # Where more than half of the scores are equal the quartiles say nothing, and the deviation stands in.
        least = max(_NOISE * abs(float(middle)), _TINY)
        spreads = (float(upper - lower), float(values.std()))
        return float(middle), next((spread for spread in spreads if spread > least), 1.0)

    def _standardised(self, values: Floats) -> Floats:
        if self.transform == "logit":
            return (_margin(values) - self.center) / self.spread
        return np.arcsinh((values - self.center) / self.spread)


def _margin(probability: Floats) -> Floats:
    return logit(np.clip(probability, _EDGE, 1 - _EDGE))


def _smoothed_targets(y: NDArray[np.int8]) -> Floats:
    """Platt's targets, (N₊ + 1)/(N₊ + 2) and 1/(N₋ + 2): they keep the curve finite on separable scores."""
    positives = int(y.sum())
    negatives = y.size - positives
    return np.where(y == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))


def _logistic_curve(z: Floats, target: Floats) -> tuple[float, float]:
    """Slope and intercept by maximum likelihood for targets between 0 and 1.

    A fractional target is a row that counts `target` times as a defaulter and `1 - target` times as not.
    """
    features = np.concatenate([z, z])[:, np.newaxis]
    labels = np.repeat([1, 0], z.size)
    weights = np.concatenate([target, 1 - target])
    curve = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=200)
    curve.fit(features, labels, sample_weight=weights)
    return float(curve.coef_[0, 0]), float(curve.intercept_[0])
