"""The promotion gate: whether a challenger may take the champion's place.

Champion and challenger are held against each other on the same clients: those of the newest month with known
outcomes that the challenger never saw. Five checks, all of which have to pass:

1. AUC not inferior    the lower end of a bootstrap interval of the difference is at or above minus the margin
2. AUC not lower       the difference itself is at or above zero
3. Brier               the challenger's Brier score is not higher by more than its margin
4. calibration         mean PD and observed rate agree within noise, or better than the champion's do
5. stability           the PSI of the challenger's score, from its reference to the month at hand, is low

Why non-inferiority and not superiority: a challenger is a retrained model of the same kind on newer months,
so its gain in one month is a few thousandths of AUC, and a few hundred defaulters cannot tell that from
zero. A gate that asked for a proven gain would keep an ageing champion for ever. What harms is a challenger
that is worse, and that is what check 1 rules out with confidence: the lower end of a two-sided interval at
90 % is a one-sided test at 5 %. Check 2 keeps a champion that has done better on the very same clients, so
that champions do not slide downhill by one margin a month. Ranking alone would let a model through whose PDs
are wrong: hence 3 and 4.

In check 4 a right model is off by more than three standard errors once in 370 months. On large months that
noise is smaller than any change of the economy, which hits the champion too; therefore a challenger that is
off by no more than the champion passes as well.

A check that cannot be made is neither passed nor failed, and a challenger with such a check is not promoted,
unless there is no champion to keep: then what can be computed is computed and shown, and the challenger
becomes the first champion.

Sources: Piaggio et al. (2012), "Reporting of noninferiority and equivalence randomized trials", JAMA 308;
Efron and Tibshirani (1993), "An introduction to the bootstrap", chapter 13 (percentile interval);
Spiegelhalter (1986), "Probabilistic prediction in patient management", Statistics in Medicine 5 (calibration
in the large).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.stability import PsiResult

DRAWS = 2_000
# Below this the interval of an AUC is wider than any margin worth having, and the bootstrap is unreliable.
CLASS_CLIENTS_MIN = 50
CALIBRATION_ERRORS = 3.0
# Weights held at a time: 4 million numbers are 32 MB.
_CELLS = 4_000_000

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]


@dataclass(frozen=True)
class Limits:
    """How much worse a challenger may be, and how sure that has to be.

    Args:
        confidence: of the two-sided intervals.
        margin_auc, margin_brier: by how much the challenger may be worse.
        max_psi: of the challenger's score.
    """

    confidence: float = 0.9
    margin_auc: float = 0.02
    margin_brier: float = 0.005
    max_psi: float = 0.25


@dataclass(frozen=True)
class Check:
    """One check: its value, an interval where there is one, what it is held against, and what came of it.

    `passed` is None where it could not be made; `reason` says in words why, or what was found.
    """

    name: str
    value: float | None
    low: float | None
    high: float | None
    threshold: float
    passed: bool | None
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What the gate says, and the checks behind it."""

    promoted: bool
    reason: str
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Sample:
    """Clients with known outcomes that the challenger never saw.

    Args:
        defaulted: (n,) outcomes, 0 or 1.
        challenger: (n,) PDs.
        champion: (n,) PDs, or None where there is no champion that could be asked.
        no_champion: why there is none.

    Raises:
        ValueError: lengths differ, an outcome is neither 0 nor 1, a PD lies outside [0, 1].
    """

    defaulted: Labels
    challenger: Floats
    champion: Floats | None
    no_champion: str = "no champion"

    def __post_init__(self) -> None:
        pds = [self.challenger] if self.champion is None else [self.challenger, self.champion]
        if any(pd.shape != self.defaulted.shape for pd in pds) or self.defaulted.ndim != 1:
            raise ValueError("outcomes and PDs must be equal columns")
        if not np.isin(self.defaulted, (0, 1)).all():
            raise ValueError("an outcome is neither 0 nor 1")
        if not all(((pd >= 0) & (pd <= 1)).all() for pd in pds):  # written so that a NaN fails too
            raise ValueError("a PD lies outside [0, 1] or is not a number")

    @property
    def too_small(self) -> str | None:
        """Why no check can be made on it, if so."""
        clients, defaulters = self.defaulted.size, int(self.defaulted.sum())
        if min(defaulters, clients - defaulters) >= CLASS_CLIENTS_MIN:
            return None
        found = f"{defaulters:,} defaulters among {clients:,} clients that the challenger never saw"
        return f"not run: {found}; {CLASS_CLIENTS_MIN} of each class are needed"


def judge(sample: Sample, stability: PsiResult, limits: Limits, seed: int) -> Verdict:
    """Hold a challenger to all checks; see the module's docstring.

    Args:
        sample: the clients to compare on.
        stability: PSI of the challenger's raw score, from its reference to the month at hand.
        limits: from the settings.
        seed: of the bootstrap.
    """
    checks = (
        *_against_champion(sample, limits, seed),
        _calibration(sample),
        _stability(stability, limits),
    )
    if sample.champion is None:
        return Verdict(True, f"There is nothing to hold it against: {sample.no_champion}.", checks)
    fallen = [check for check in checks if not check.passed]
    if fallen:
        reasons = "; ".join(f"{check.name}: {check.reason}" for check in fallen)
        return Verdict(False, f"The gate kept the champion: {reasons}.", checks)
    return Verdict(True, f"It passed the gate: {checks[0].reason}.", checks)


# ── Checks ──────────────────────────────────────────────────────────────────────────────────────


def _against_champion(sample: Sample, limits: Limits, seed: int) -> list[Check]:
    thresholds = {
        "AUC not inferior": -limits.margin_auc,
        "AUC not lower": 0.0,
        "Brier": limits.margin_brier,
    }
    reason = f"not run: {sample.no_champion}" if sample.champion is None else sample.too_small
    if reason is not None or sample.champion is None:
        return [_not_run(name, threshold, str(reason)) for name, threshold in thresholds.items()]
    auc, brier = paired_bootstrap(
        sample.defaulted, sample.challenger, sample.champion, confidence=limits.confidence, seed=seed
    )
    return [_not_inferior(auc, limits), _not_lower(auc), _brier(brier, limits)]


def _not_inferior(auc: "Difference", limits: Limits) -> Check:
    passed = auc.low >= -limits.margin_auc
    reason = (
        f"ROC AUC differs by {auc.value:+.4f}, with {limits.confidence:.0%} confidence by {auc.low:+.4f} to "
        f"{auc.high:+.4f}; the lower end {'is not' if passed else 'is'} below {-limits.margin_auc:+.4f}"
    )
    return Check("AUC not inferior", auc.value, auc.low, auc.high, -limits.margin_auc, passed, reason)


def _not_lower(auc: "Difference") -> Check:
    passed = auc.value >= 0
    reason = f"ROC AUC {auc.first:.4f} is {'not lower' if passed else 'lower'} than {auc.second:.4f}"
    return Check("AUC not lower", auc.value, None, None, 0.0, passed, reason)


def _brier(brier: "Difference", limits: Limits) -> Check:
    passed = brier.value <= limits.margin_brier
    reason = (
        f"Brier score {brier.first:.4f} after {brier.second:.4f}: {brier.value:+.4f}, "
        f"{'within' if passed else 'above'} the margin of {limits.margin_brier:g}"
    )
    return Check("Brier", brier.value, brier.low, brier.high, limits.margin_brier, passed, reason)


def _calibration(sample: Sample) -> Check:
    """Mean PD less observed rate; its noise is that of independent defaults with these very PDs."""
    if sample.too_small is not None:
        return _not_run("calibration", 0.0, sample.too_small)
    pd, observed = sample.challenger, float(sample.defaulted.mean())
    noise = CALIBRATION_ERRORS * float(np.sqrt((pd * (1 - pd)).sum())) / pd.size
    gap = float(pd.mean()) - observed
    before = None if sample.champion is None else abs(float(sample.champion.mean()) - observed)
    threshold = noise if before is None else max(noise, before)
    allowed = f"{CALIBRATION_ERRORS:g} standard errors allow {noise:.4f}"
    if before is not None:
        allowed += f", the champion was off by {before:.4f}"
    reason = f"mean PD {pd.mean():.4f}, observed {observed:.4f}: {gap:+.4f}; {allowed}"
    return Check("calibration", gap, gap - noise, gap + noise, threshold, abs(gap) <= threshold, reason)


def _stability(stability: PsiResult, limits: Limits) -> Check:
    if stability.value is None:
        return _not_run("stability", limits.max_psi, f"not run: {stability.reason}")
    passed = stability.value <= limits.max_psi
    reason = (
        f"PSI of its score is {stability.value:.4f} on {stability.current_rows:,} clients, "
        f"{'at most' if passed else 'above'} {limits.max_psi:g}"
    )
    return Check("stability", stability.value, None, None, limits.max_psi, passed, reason)


def _not_run(name: str, threshold: float, reason: str) -> Check:
    return Check(name, None, None, None, threshold, None, reason)


# ── Paired bootstrap ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Difference:
    """A figure of the first model less that of the second, with its interval."""

    value: float
    low: float
    high: float
    first: float
    second: float


def paired_bootstrap(
    y: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    *,
    confidence: float,
    seed: int,
    draws: int = DRAWS,
) -> tuple[Difference, Difference]:
    """Differences in ROC AUC and in Brier score of two PDs of the same clients, with percentile intervals.

    Clients are drawn with replacement, each with both PDs, so what makes a sample hard for both cancels out.

    Args:
        y: (n,) outcomes, 0 or 1; both must occur, and often enough that no draw is likely to lack one.
        first, second: (n,) PDs; for the AUC any scores, where ties count one half.
        confidence: of the two-sided intervals.
        seed: of the draws.
        draws: how many.

    Returns:
        AUC (first less second) and Brier score (first less second).

    Raises:
        ValueError: one class only.
    """
    outcomes = np.asarray(y, dtype=bool)
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if outcomes.all() or not outcomes.any():
        raise ValueError("both classes are needed")
    ranked_a, ranked_b = Ranked.of(outcomes, a), Ranked.of(outcomes, b)
    squares_a, squares_b = (a - outcomes) ** 2, (b - outcomes) ** 2
    drawn: list[tuple[Floats, Floats]] = []
    for weights in resampled(outcomes.size, draws, np.random.default_rng(seed)):
        aucs = ranked_a.auc(weights) - ranked_b.auc(weights)
        drawn.append((aucs, (weights * (squares_a - squares_b)).sum(axis=1) / outcomes.size))
    auc, brier = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    once = np.ones((1, outcomes.size))
    points = float(ranked_a.auc(once)[0]), float(ranked_b.auc(once)[0])
    return (
        _difference(*points, auc, confidence),
        _difference(float(squares_a.mean()), float(squares_b.mean()), brier, confidence),
    )


def _difference(first: float, second: float, drawn: Floats, confidence: float) -> Difference:
    # A draw without one of the classes has no AUC.
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn[np.isfinite(drawn)], (tail, 1 - tail))
    return Difference(first - second, float(low), float(high), first, second)


def resampled(rows: int, draws: int, random: np.random.Generator) -> Iterator[Floats]:
    """How often each row is drawn: (d, rows) counts at a time, to bound the memory, `draws` in all."""
    step = max(1, _CELLS // rows)
    for start in range(0, draws, step):
        here = min(step, draws - start)
        drawn = random.integers(0, rows, size=(here, rows), dtype=np.int64)
        drawn += np.arange(here)[:, np.newaxis] * rows
        counts = np.bincount(drawn.ravel(), minlength=here * rows)
        yield counts.reshape(here, rows).astype(np.float64)


@dataclass(frozen=True)
class Ranked:
    """One model's scores, sorted once, so that the AUC of many weightings costs a running sum each.

    `lower` and `upper` give, for each defaulter, how many others score lower, and lower or equal.
    """

    defaulters: NDArray[np.int64]
    others: NDArray[np.int64]
    lower: NDArray[np.int64]
    upper: NDArray[np.int64]

    @classmethod
    def of(cls, defaulted: NDArray[np.bool_], score: Floats) -> Self:
        defaulters, others = np.flatnonzero(defaulted), np.flatnonzero(~defaulted)
        # Both in the order of the score: neighbours in the running sum are then neighbours in memory.
        defaulters = defaulters[np.argsort(score[defaulters], kind="stable")]
        others = others[np.argsort(score[others], kind="stable")]
        ranks = [np.searchsorted(score[others], score[defaulters], side=side) for side in ("left", "right")]
        return cls(defaulters, others, *ranks)

    def auc(self, weights: Floats) -> Floats:
        """(d,) areas under the ROC curve with each of (d, n) weightings; NaN where a class has no weight."""
        passed = np.zeros((len(weights), self.others.size + 1))
        np.cumsum(weights[:, self.others], axis=1, out=passed[:, 1:])
        bad = weights[:, self.defaulters]
        below = (passed[:, self.lower] + passed[:, self.upper]) / 2
        with np.errstate(invalid="ignore"):
            return (bad * below).sum(axis=1) / (bad.sum(axis=1) * passed[:, -1])
