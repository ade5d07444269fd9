"""From a raw score to a probability of default: which curve, and whether any is needed.

A curve is fitted to the scores of rows that the model was not fitted on. Four stand to choose from, the
simplest first:

- **none**: the score is a probability already and stays as it is.
- **platt**: a logistic curve, two parameters. Classifiers are read on the logit scale; anomaly scores are
  unbounded with a long tail, which is drawn in by asinh around the median (linear near it, logarithmic far
  out) so that a few extreme clients cannot flatten the curve.
- **beta**: a logistic curve in ln p and −ln(1 − p), three parameters. It can bend where Platt's cannot, and
  contains "none" (1, 1, 0).
- **isotonic**: the increasing step curve of least squares. It has as many parameters as the data ask for,
  and gives clients of one step the same PD.

`choose_calibrator` holds them against each other on cross-fitted predictions.

Sources: Platt (1999), "Probabilistic outputs for support vector machines and comparisons to regularized
likelihood methods", with the smoothed targets of its section 2.2; Zadrozny and Elkan (2002), "Transforming
classifier scores into accurate multiclass probability estimates" (isotonic); Kull, Silva Filho and Flach
(2017), "Beta calibration: a well-founded and easily implemented improvement on logistic calibration for
binary classifiers", AISTATS; Breiman, Friedman, Olshen and Stone (1984), "Classification and regression
trees", section 3.4.3 (the rule of one standard error).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from models.metrics import equal_count_bins, expected_calibration_error

Transform = Literal["logit", "asinh"]
Kind = Literal["classifier", "anomaly"]
FOLDS = 5
NOISE_DRAWS = 100
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
Labels = NDArray[np.int8]


# ── Calibrators ─────────────────────────────────────────────────────────────────────────────────


class Calibrator(ABC):
    """A curve from raw score to PD that never falls: a higher score never gives a lower PD.

    Whatever was fitted stands in plain attributes, which are its state.
    """

    name: ClassVar[str]
    # Whether it takes probabilities only.
    probabilities: ClassVar[bool] = False

    def __init__(self) -> None:
        self.rows = self.defaulters = 0

    @property
    @abstractmethod
    def is_flat(self) -> bool:
        """Whether the PD is the same for every client."""

    @abstractmethod
    def _learn(self, values: Floats, outcomes: Labels) -> None: ...

    @abstractmethod
    def _curve(self, values: Floats) -> Floats: ...

    def fit(self, score: ArrayLike, y: ArrayLike) -> Self:
        """Fit the curve.

        Args:
            score: (n,) raw scores, higher = riskier.
            y: (n,) outcomes, 0 or 1; both must occur.

        Raises:
            ValueError: no rows, one class only, a score that is not finite, or no probability where one is
                needed.
        """
        values, outcomes = _checked(score, y)
        self._check_range(values)
        self.rows, self.defaulters = outcomes.size, int(outcomes.sum())
        self._learn(values, outcomes)
        return self

    def predict(self, score: ArrayLike) -> Floats:
        """PDs in (0, 1), one for each of the (n,) scores.

        Raises:
            ValueError: the calibrator was not fitted, a score is not finite, or no probability where one is
                needed.
        """
        values = np.asarray(score, dtype=np.float64)
        if not self.rows:
            raise ValueError("the calibrator was not fitted")
        if not np.isfinite(values).all():
            raise ValueError("a score is not finite")
        self._check_range(values)
        return np.clip(self._curve(values), expit(-_LIMIT), expit(_LIMIT))

    def to_state(self) -> dict[str, Any]:
        """Everything `calibrator_from_state` needs, as JSON keeps it."""
        return {"name": self.name, **vars(self)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The calibrator that `to_state` described.

        Raises:
            ValueError: the state is another calibrator's, or a field is missing or unknown.
        """
        calibrator = cls._blank(state)
        expected = calibrator.to_state()
        if set(state) != set(expected) or state["name"] != cls.name:
            raise ValueError(f"expected {cls.name} with the fields {sorted(expected)}, found {sorted(state)}")
        vars(calibrator).update({field: value for field, value in state.items() if field != "name"})
        return calibrator

    @classmethod
    def _blank(cls, state: dict[str, Any]) -> Self:  # noqa: ARG003  (PlattCalibrator reads its transform)
        return cls()

    def _check_range(self, values: Floats) -> None:
        if self.probabilities and not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"{self.name}: a score is no probability")


class NoCalibrator(Calibrator):
    """PD = score, for probabilities only."""

    name = "none"
    probabilities = True

    @property
    def is_flat(self) -> bool:
        """Never: the model itself is not looked at."""
        return False

    def _learn(self, values: Floats, outcomes: Labels) -> None:
        """There is nothing to learn."""

    def _curve(self, values: Floats) -> Floats:
        return values


class PlattCalibrator(Calibrator):
    """PD = expit(slope · z + intercept), where z is the transformed, standardised score.

    The slope is held at zero or above (constrained maximum likelihood), so a higher score never gives a
    lower PD. A score that ranks the wrong way on the calibration rows therefore gives every client the
    base rate: `is_flat` tells.

    Args:
        transform: "logit" for probabilities, "asinh" for unbounded anomaly scores (higher = riskier).
    """

    name = "platt"

    def __init__(self, transform: Transform = "logit") -> None:
        super().__init__()
        if transform not in get_args(Transform):
            raise ValueError(f"transform must be one of {get_args(Transform)}, not {transform!r}")
        self.transform: Transform = transform
        self.center = self.spread = self.slope = self.intercept = float("nan")

    @property
    def is_flat(self) -> bool:
        """Whether the PD is the same for every client."""
        return self.slope == 0.0

    @classmethod
    def _blank(cls, state: dict[str, Any]) -> Self:
        return cls(state.get("transform", ""))

    def _learn(self, values: Floats, outcomes: Labels) -> None:
        self.center, self.spread = self._location(values)
        target = _smoothed_targets(outcomes)
        self.slope, self.intercept = 0.0, float(logit(target.mean()))
        z = self._standardised(values)
        if np.ptp(z) <= _CONSTANT:
            return
        (slope,), intercept = _logistic_curve(z[:, np.newaxis], target)
        if slope > 0:
            self.slope, self.intercept = slope, intercept

    def _curve(self, values: Floats) -> Floats:
        return expit(self.slope * self._standardised(values) + self.intercept)

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


class BetaCalibrator(Calibrator):
    """PD = expit(a · ln p − b · ln(1 − p) + c) with a, b ≥ 0, for probabilities only.

    Maximum likelihood as in the paper: a coefficient that comes out below zero is set to zero and the other
    is fitted alone; where that one is below zero too, every client gets the base rate. The targets are
    Platt's smoothed ones, so that the curve stays finite on separable rows.
    """

    name = "beta"
    probabilities = True

    def __init__(self) -> None:
        super().__init__()
        self.a = self.b = self.c = float("nan")

    @property
    def is_flat(self) -> bool:
        """Whether the PD is the same for every client."""
        return self.a == 0.0 == self.b

    def _learn(self, values: Floats, outcomes: Labels) -> None:
        target = _smoothed_targets(outcomes)
        logs = np.column_stack(_beta_logs(values))
        self.a, self.b, self.c = 0.0, 0.0, float(logit(target.mean()))
        used = [position for position in (0, 1) if np.ptp(logs[:, position]) > _CONSTANT]
        if len(used) == 2 and _collinear(logs):
            used = [0]
        while used:
            slopes, intercept = _logistic_curve(logs[:, used], target)
            if min(slopes) >= 0:
                fitted = dict(zip(used, slopes, strict=True))
                self.a, self.b, self.c = fitted.get(0, 0.0), fitted.get(1, 0.0), intercept
                return
            # The paper looks at a first.
            used.remove(next(p for p, slope in zip(used, slopes, strict=True) if slope < 0))

    def _curve(self, values: Floats) -> Floats:
        rising, falling = _beta_logs(values)
        return expit(self.a * rising + self.b * falling + self.c)


class IsotonicCalibrator(Calibrator):
    """The increasing curve of least squares through the outcomes (pool adjacent violators).

    Rows of equal score count as one point with their mean. Between two neighbouring steps the PD runs in a
    straight line; below the lowest and above the highest score it stays at the end's value. The targets are
    Platt's smoothed ones: a lowest step without a single defaulter among N₋ others says 1/(N₋ + 2), not 0.
    """

    name = "isotonic"

    def __init__(self) -> None:
        super().__init__()
        self.scores: list[float] = []
        self.levels: list[float] = []

    @property
    def is_flat(self) -> bool:
        """Whether the PD is the same for every client."""
        return self.levels[:1] == self.levels[-1:]

    def _learn(self, values: Floats, outcomes: Labels) -> None:
        curve = IsotonicRegression().fit(values, _smoothed_targets(outcomes))
        self.scores, self.levels = curve.X_thresholds_.tolist(), curve.y_thresholds_.tolist()

    def _curve(self, values: Floats) -> Floats:
        return np.interp(values, self.scores, self.levels)


CALIBRATORS: dict[str, type[Calibrator]] = {
    calibrator.name: calibrator
    for calibrator in (NoCalibrator, PlattCalibrator, BetaCalibrator, IsotonicCalibrator)
}


def calibrator_from_state(state: dict[str, Any]) -> Calibrator:
    """The calibrator that `to_state` described, whichever it was.

    Raises:
        ValueError: the name is unknown, or a field is missing or unknown.
    """
    name = state.get("name")
    if name not in CALIBRATORS:
        raise ValueError(f"expected a calibrator among {', '.join(CALIBRATORS)}, found {name!r}")
    return CALIBRATORS[name].from_state(state)


# ── Choice ──────────────────────────────────────────────────────────────────────────────────────

# Simplest first. An anomaly score is no probability, so it cannot stay as it is, nor has it a logarithm.
CANDIDATES: dict[Kind, tuple[Callable[[], Calibrator], ...]] = {
    "classifier": (NoCalibrator, PlattCalibrator, BetaCalibrator, IsotonicCalibrator),
    "anomaly": (lambda: PlattCalibrator("asinh"), IsotonicCalibrator),
}


@dataclass(frozen=True)
class Candidate:
    """Figures of one calibrator on cross-fitted predictions.

    `excess` is its Brier score less the best one's, `standard_error` that of the excess, over rows.
    """

    brier: float
    ece: float
    mean_pd: float
    excess: float
    standard_error: float

    @property
    def is_good_enough(self) -> bool:
        """Whether it is not worse than the best by more than one standard error."""
        return self.excess <= self.standard_error


@dataclass(frozen=True)
class CalibratorChoice:
    """The calibrator that was chosen, fitted on all rows, and why.

    Args:
        calibrator: fitted.
        table: name → figures, simplest first.
        reason: in words.
        rows: calibration rows; `defaulters` of them defaulted.
        ece_floor: the ECE that perfectly calibrated PDs would show on as many rows (`ece_noise_floor`).
    """

    calibrator: Calibrator
    table: dict[str, Candidate]
    reason: str
    rows: int
    defaulters: int
    folds: int
    ece_floor: float

    @property
    def chosen(self) -> str:
        """Name of the calibrator."""
        return self.calibrator.name

    @property
    def observed_rate(self) -> float:
        """Share of defaulters among the rows."""
        return self.defaulters / self.rows

    def to_state(self) -> dict[str, Any]:
        """Everything `from_state` needs, as JSON keeps it; name and observed rate are for readers."""
        return {
            "chosen": self.chosen,
            "reason": self.reason,
            "rows": self.rows,
            "defaulters": self.defaulters,
            "observed_rate": self.observed_rate,
            "folds": self.folds,
            "ece_floor": self.ece_floor,
            "candidates": {name: asdict(candidate) for name, candidate in self.table.items()},
            "calibrator": self.calibrator.to_state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The choice that `to_state` described.

        Raises:
            ValueError: a field is missing, unknown or contradicts another.
        """
        try:
            # JSON may have been written with sorted keys: the table's order is that of CALIBRATORS.
            table = {
                name: Candidate(**state["candidates"][name])
                for name in CALIBRATORS
                if name in state["candidates"]
            }
            choice = cls(
                calibrator=calibrator_from_state(state["calibrator"]),
                table=table,
                **{field: state[field] for field in ("reason", "rows", "defaulters", "folds", "ece_floor")},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no state of a calibrator choice: {type(error).__name__}: {error}") from error
        if choice.to_state() != state:
            raise ValueError("no state of a calibrator choice: its fields contradict each other")
        return choice


def choose_calibrator(
    score: ArrayLike, y: ArrayLike, *, kind: Kind, seed: int, folds: int = FOLDS
) -> CalibratorChoice:
    """Choose the simplest calibrator that is as good as the best, and fit it on all rows.

    Each candidate predicts every row from a curve fitted on the other folds. Taken is the first of none,
    platt, beta, isotonic whose Brier score is not worse than the lowest by more than one standard error of
    the difference, paired by row.

    Why one: a curve that is not needed costs little, and on few rows a lower Brier score by a hair is
    chance, so the plain minimum would nearly always pick some curve. One standard error leaves a score
    alone that is right, and still sees one that is wrong: where the mean PD alone is off, by d, the
    expected difference is d² and its standard error 2d·s/√n (s: deviation of outcome less PD), so "one
    standard error" is reached when d is two standard errors of the mean, the usual test of whether a PD
    states the right number of defaulters. After SMOTE d is a hundred of them.

    Args:
        score: (n,) raw scores of rows that the model was not fitted on, higher = riskier.
        y: (n,) outcomes, 0 or 1.
        kind: "classifier" where the score is a probability; for "anomaly" platt and isotonic stand to choose.
        seed: of the folds (stratified) and of the noise floor.
        folds: at most; as many as the smaller class has rows where those are fewer.

    Raises:
        ValueError: a class has fewer than two rows, a score is not finite, or a classifier's is no
            probability.
    """
    values, outcomes = _checked(score, y)
    smaller = int(min(outcomes.sum(), (1 - outcomes).sum()))
    if smaller < 2:
        raise ValueError(f"at least two rows of each class are needed, found {smaller} of one")
    splits = min(folds, smaller)
    predictions = {
        make().name: _cross_fitted(make, values, outcomes, splits, seed) for make in CANDIDATES[kind]
    }
    table = _figures(predictions, outcomes)
    chosen = next(name for name, candidate in table.items() if candidate.is_good_enough)
    make = next(make for make in CANDIDATES[kind] if make().name == chosen)
    return CalibratorChoice(
        calibrator=make().fit(values, outcomes),
        table=table,
        reason=_reason(table, chosen),
        rows=outcomes.size,
        defaulters=int(outcomes.sum()),
        folds=splits,
        ece_floor=ece_noise_floor(predictions[chosen], seed),
    )


def _cross_fitted(
    make: Callable[[], Calibrator], values: Floats, outcomes: Labels, folds: int, seed: int
) -> Floats:
    predictions = np.empty(values.size)
    for fit, rest in StratifiedKFold(folds, shuffle=True, random_state=seed).split(values, outcomes):
        predictions[rest] = make().fit(values[fit], outcomes[fit]).predict(values[rest])
    return predictions


def _figures(predictions: dict[str, Floats], outcomes: Labels) -> dict[str, Candidate]:
    losses = {name: (pd - outcomes) ** 2 for name, pd in predictions.items()}
    best = min(losses.values(), key=np.mean)
    table = {}
    for name, pd in predictions.items():
        excess = losses[name] - best
        table[name] = Candidate(
            brier=float(losses[name].mean()),
            ece=expected_calibration_error(outcomes, pd),
            mean_pd=float(pd.mean()),
            excess=float(excess.mean()),
            standard_error=float(excess.std(ddof=1) / np.sqrt(excess.size)),
        )
    return table


def _reason(table: dict[str, Candidate], chosen: str) -> str:
    best = min(table, key=lambda name: table[name].brier)
    taken = table[chosen]
    if chosen == best:
        words = f"{chosen} has the lowest Brier score, {taken.brier:.5f}"
    else:
        words = (
            f"{chosen} is the simplest whose Brier score, {taken.brier:.5f}, is not worse than the lowest "
            f"({best}, {table[best].brier:.5f}) by more than one standard error ({taken.standard_error:.5f})"
        )
    worse = [
        f"{name} is worse by {table[name].excess:.5f}, more than one standard error "
        f"({table[name].standard_error:.5f})"
        for name in list(table)[: list(table).index(chosen)]
    ]
    return "; ".join([words, *worse]) + "."


def ece_noise_floor(pd: ArrayLike, seed: int, draws: int = NOISE_DRAWS) -> float:
    """The ECE that these PDs would show if they were exactly right.

    Mean of `models.metrics.expected_calibration_error` over outcomes drawn from the PDs. An ECE near it says
    nothing against the calibration: about 0.011 at 9,000 clients and a base rate of 0.22.

    Args:
        pd: (n,) probabilities of default.
        seed: of the outcomes.
        draws: sets of outcomes.

    Raises:
        ValueError: there are no rows, no draws, or a PD lies outside [0, 1].
    """
    probabilities = np.asarray(pd, dtype=np.float64)
    if not probabilities.size or draws < 1:
        raise ValueError(f"at least one row and one draw are needed, not {probabilities.size} and {draws}")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():  # written so that a NaN fails too
        raise ValueError("a PD lies outside [0, 1] or is not a number")
    rng, index = np.random.default_rng(seed), equal_count_bins(probabilities)
    misses = [
        np.bincount(index, weights=(rng.random(probabilities.size) < probabilities) - probabilities)
        for _ in range(draws)
    ]
    return float(np.abs(misses).sum(axis=1).mean() / probabilities.size)


# ── Curves and input ────────────────────────────────────────────────────────────────────────────


def _checked(score: ArrayLike, y: ArrayLike) -> tuple[Floats, Labels]:
    values, outcomes = np.asarray(score, dtype=np.float64), np.asarray(y)
    if values.ndim != 1 or values.shape != outcomes.shape or not np.isfinite(values).all():
        raise ValueError("scores must be finite, one for each outcome")
    if not ((outcomes == 0) | (outcomes == 1)).all():
        raise ValueError("an outcome is neither 0 nor 1")
    defaulters = int(outcomes.sum())
    if not 0 < defaulters < outcomes.size:
        raise ValueError(f"both classes are needed: {defaulters} defaulters in {outcomes.size} rows")
    return values, outcomes.astype(np.int8)


def _margin(probability: Floats) -> Floats:
    return logit(np.clip(probability, _EDGE, 1 - _EDGE))


def _beta_logs(probability: Floats) -> tuple[Floats, Floats]:
    held = np.clip(probability, _EDGE, 1 - _EDGE)
    return np.log(held), -np.log1p(-held)


def _collinear(columns: Floats) -> bool:
    """Whether two columns lie on a line, so that only one coefficient can be told; two scores always do."""
    return bool(abs(np.corrcoef(columns[:, 0], columns[:, 1]).item(1)) > 1 - 1e-9)


def _smoothed_targets(y: Labels) -> Floats:
    """Platt's targets, (N₊ + 1)/(N₊ + 2) and 1/(N₋ + 2): they keep the curve finite on separable scores."""
    positives = int(y.sum())
    negatives = y.size - positives
    return np.where(y == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))


def _logistic_curve(columns: Floats, target: Floats) -> tuple[list[float], float]:
    """Slopes and intercept by maximum likelihood for (n, k) columns and targets between 0 and 1.

    A fractional target is a row that counts `target` times as a defaulter and `1 - target` times as not.
    """
    features = np.concatenate([columns, columns])
    labels = np.repeat([1, 0], len(columns))
    weights = np.concatenate([target, 1 - target])
    curve = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10, max_iter=200)
    curve.fit(features, labels, sample_weight=weights)
    return curve.coef_[0].tolist(), float(curve.intercept_[0])
