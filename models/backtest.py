"""Do the PDs state the risk? Tests of realised defaults against PDs, overall and by group of clients.

Sources: Basel Committee on Banking Supervision (2005), "Studies on the validation of internal rating
systems", working paper 14; European Central Bank (2019), "Instructions for reporting the validation results
of internal models"; the papers named at each function. No test allows for clients who default together: where
they do, as in a recession, each rejects more often than its level says.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import beta, binom, chi2, norm

from models.discrimination import LEVEL, Interval, _quantile
from models.metrics import Metric, Ordered

TENTHS = 10
# A PD of 0 or 1 has no log-odds: as in models/calibration.py.
_EDGE = 1e-12
# Log-odds that differ by less over all clients are one PD with rounding noise.
_CONSTANT = 1e-9
# The search ends where expected and observed defaults differ by this share of the smaller class …
_NEAR = 1e-6
# … and Newton's steps from there end where the next is this small a share of a standard error, squared.
_STEPS, _CONVERGED = 20, 1e-14
# … whose covariance is the one before that step, where it moves nothing that a float64 would show.
_SETTLED = 1e-17
# Of more clients than these the search begins with so many groups of neighbours.
_MANY, _GROUPS = 50_000, 4_096
# Clients whose terms are added at a time.
_BLOCK = 1 << 14
_NO_MAXIMUM = "the likelihood is flat: PDs next to 0 and 1 leave no maximum that can be found"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Test:
    """A hypothesis test; `reason` says why there is none. `degrees` of freedom where it has them."""

    __test__ = False  # not a test of ours: pytest leaves it alone

    statistic: float | None
    p_value: float | None
    degrees: int | None = None
    reason: str | None = None


# ── One group of clients ────────────────────────────────────────────────────────────────────────


def binomial_test(clients: int, defaulters: int, pd: float) -> Metric:
    """One-sided p-value of the binomial test: P(X ≥ defaulters) for X ~ Binomial(clients, pd).

    Small where the PD is too low. Source: BCBS working paper 14 (2005), study III on the validation of PDs.

    Raises:
        ValueError: counts are negative or more default than there are clients, or the PD is outside [0, 1].
    """
    _check_counts(clients, defaulters, pd)
    if not clients:
        return Metric(None, "no rows")
    return Metric(float(binom.sf(defaulters - 1, clients, pd)))


def jeffreys_test(clients: int, defaulters: int, pd: float) -> Metric:
    """Posterior probability that the true rate is at most the PD, under Jeffreys' prior.

    Small where the PD is too low: Beta(defaulters + 1/2, clients - defaulters + 1/2) at `pd`. Source: ECB
    (2019), section 2.5.3.1. The continuous prior holds no rate to be exactly 0, so that a PD of exactly 0 has
    probability 0 whatever happened.

    Raises:
        ValueError: as in `binomial_test`.
    """
    _check_counts(clients, defaulters, pd)
    if not clients:
        return Metric(None, "no rows")
    return Metric(float(beta.cdf(pd, defaulters + 0.5, clients - defaulters + 0.5)))


def jeffreys_interval(clients: int, defaulters: int, level: float = LEVEL) -> Interval:
    """Default rate with Jeffreys' equal-tailed interval; from 0 on without a default, up to 1 if all default.

    Source: Brown, Cai & DasGupta (2001), "Interval estimation for a binomial proportion", Statistical Science
    16, section 3.1.2.

    Raises:
        ValueError: counts are negative, more default than there are clients, or the level is outside (0, 1).
    """
    _check_counts(clients, defaulters, 0.0)
    if not 0 < level < 1:
        raise ValueError(f"a level of confidence lies between 0 and 1, not {level!r}")
    if not clients:
        return Interval(None, None, None, "no rows")
    tail = (1 - level) / 2
    posterior = (defaulters + 0.5, clients - defaulters + 0.5)
    low = 0.0 if defaulters == 0 else float(beta.ppf(tail, *posterior))
    high = 1.0 if defaulters == clients else float(beta.isf(tail, *posterior))
    return Interval(defaulters / clients, low, high)


def _check_counts(clients: int, defaulters: int, pd: float) -> None:
    if not 0 <= defaulters <= clients:
        raise ValueError(f"{defaulters} defaulters among {clients} clients")
    if not 0 <= pd <= 1:
        raise ValueError(f"a PD lies in [0, 1], not {pd!r}")


# ── All clients ─────────────────────────────────────────────────────────────────────────────────


def hosmer_lemeshow(y: ArrayLike, pd: ArrayLike, groups: int = TENTHS, *, fitted: bool = False) -> Test:
    """Chi-square test over groups of about equally many clients by PD; equal PDs share a group.

    Args:
        y: (n,) outcomes, 0 or 1.
        pd: (n,) probabilities of default in [0, 1].
        groups: how many are wanted; ties in the PD can leave fewer.
        fitted: whether the PDs were fitted to these very outcomes; then two degrees of freedom are lost.

    Source: Hosmer & Lemeshow (1980), "Goodness of fit tests for the multiple logistic regression model",
    Communications in Statistics A9; as many degrees as groups for PDs of another sample (Hosmer & Lemeshow
    2000, "Applied logistic regression", section 5.2.5).

    Raises:
        ValueError: lengths differ, an outcome is neither 0 nor 1, or a PD lies outside [0, 1].
    """
    ordered = Ordered.of(y, pd)
    return _hosmer_lemeshow(ordered, groups, fitted=fitted)


def _hosmer_lemeshow(ordered: Ordered, groups: int = TENTHS, *, fitted: bool = False) -> Test:
    if not ordered.pd.size:
        return Test(None, None, None, "no rows")
    bins = ordered.tenths if groups == TENTHS else ordered.bins(groups)
    clients, observed, expected = bins.clients, bins.defaulters, bins.expected
    variance = expected * (1 - expected / clients)
    if (variance < _EDGE).any():
        return Test(
            None,
            None,
            None,
            "the PDs of a group are all 0 or all 1 or next to it: no outcome varies around them",
        )
    degrees = int(clients.size) - (2 if fitted else 0)
    if degrees < 1:
        return Test(None, None, None, f"{clients.size} groups of different PD are too few")
    statistic = float(((observed - expected) ** 2 / variance).sum())
    return Test(statistic, float(chi2.sf(statistic, degrees)), degrees)


def spiegelhalter(y: ArrayLike, pd: ArrayLike) -> Test:
    """z-test of the Brier score against what right PDs would give; two-sided.

    Source: Spiegelhalter (1986), "Probabilistic prediction in patient management and clinical trials",
    Statistics in Medicine 5.

    Raises:
        ValueError: as in `hosmer_lemeshow`.
    """
    return _spiegelhalter(Ordered.of(y, pd))


def _spiegelhalter(ordered: Ordered) -> Test:
    if not ordered.pd.size:
        return Test(None, None, None, "no rows")
    variance = missed = 0.0
    for pds, outcome in ((ordered.bad, 1), (ordered.good, 0)):
        for start in range(0, pds.size, _BLOCK):
            part = pds[start : start + _BLOCK]
            weight = 1 - 2 * part
            variance += float((weight**2 * part * (1 - part)).sum())
            missed += float(((outcome - part) * weight).sum())
    if variance == 0:
        return Test(None, None, None, "the PDs are all 0, 1/2 or 1: the Brier score cannot vary")
    z = missed / math.sqrt(variance)
    return Test(z, float(2 * norm.sf(abs(z))))


def brier_parts(y: ArrayLike, pd: ArrayLike, bins: int = TENTHS) -> dict[str, Metric]:
    """The Brier score beside that of the base rate, its skill, and Murphy's three parts.

    `brier_skill` is 1 - brier / brier_reference. reliability - resolution + uncertainty equals the Brier
    score of each client stated at the mean PD of the bin, and the Brier score itself but for the spread
    within bins. Source: Murphy (1973), "A new vector partition of the probability score", Journal of Applied
    Meteorology 12.

    Raises:
        ValueError: as in `hosmer_lemeshow`.
    """
    return _brier_parts(Ordered.of(y, pd), bins)


def _brier_parts(ordered: Ordered, bins: int = TENTHS) -> dict[str, Metric]:
    names = ("brier", "brier_reference", "brier_skill", "reliability", "resolution", "uncertainty")
    if not ordered.pd.size:
        return {name: Metric(None, "no rows") for name in names}
    brier, rate = ordered.brier, ordered.defaulters / ordered.pd.size
    reference = rate * (1 - rate)
    found = ordered.tenths if bins == TENTHS else ordered.bins(bins)
    clients, observed, expected = found.clients, found.defaulters, found.expected
    missed = float((clients * ((expected - observed) / clients) ** 2).sum() / ordered.pd.size)
    resolved = float((clients * (observed / clients - rate) ** 2).sum() / ordered.pd.size)
    skill = Metric(None, reason) if (reason := ordered.one_class) else Metric(1 - brier / reference)
    return {
        "brier": Metric(brier),
        "brier_reference": Metric(reference),
        "brier_skill": skill,
        "reliability": Metric(missed),
        "resolution": Metric(resolved),
        "uncertainty": Metric(reference),
    }


@dataclass(frozen=True)
class Backtest:
    """Every figure of this section and the next, from one sorting of the clients."""

    brier: dict[str, Metric]
    hosmer_lemeshow: Test
    spiegelhalter: Test
    calibration_slope: Interval
    calibration_intercept: Interval
    calibration_in_the_large: Interval


def backtest(clients: Ordered) -> Backtest:
    """What the functions of the same names give of these clients."""
    odds = _log_odds(clients.pd)
    return Backtest(
        _brier_parts(clients),
        _hosmer_lemeshow(clients),
        _spiegelhalter(clients),
        *_calibration_slope(clients, odds),
        _calibration_in_the_large(clients, odds),
    )


# ── Calibration by logistic regression ──────────────────────────────────────────────────────────


def calibration_slope(y: ArrayLike, pd: ArrayLike, level: float = LEVEL) -> tuple[Interval, Interval]:
    """Slope and intercept of the logistic regression of the outcome on the log-odds of the PD.

    1 and 0 where the PDs are right; a slope below 1 says that they are too extreme. Maximum likelihood with
    Wald intervals from the information matrix. PDs are held at 1e-12 from 0 and 1. Sources: Cox (1958), "Two
    further applications of a model for binary regression", Biometrika 45; Miller, Hui & Tierney (1991),
    "Validation techniques for logistic regression models", Statistics in Medicine 10.

    Raises:
        ValueError: as in `hosmer_lemeshow`.
    """
    ordered = Ordered.of(y, pd)
    return _calibration_slope(ordered, _log_odds(ordered.pd), level)


def _calibration_slope(ordered: Ordered, odds: Floats, level: float = LEVEL) -> tuple[Interval, Interval]:
    reason = _no_fit(ordered) or _no_slope(odds[: ordered.defaulters], odds[ordered.defaulters :])
    if reason is not None:
        return Interval(None, None, None, reason), Interval(None, None, None, reason)
    # Standardised, so that PDs close to each other leave the information matrix well conditioned.
    centre = float(odds.mean())
    along = odds - centre
    spread = math.sqrt(float(np.square(along).mean()))
    along /= spread
    found = _logistic(_Regression(ordered.y, along, None))
    if found is None:
        return Interval(None, None, None, _NO_MAXIMUM), Interval(None, None, None, _NO_MAXIMUM)
    back = np.array([[1 / spread, 0], [-centre / spread, 1]])
    weights, covariance = back @ found[0], back @ found[1] @ back.T
    return _wald(weights[0], covariance[0, 0], level), _wald(weights[1], covariance[1, 1], level)


def calibration_in_the_large(y: ArrayLike, pd: ArrayLike, level: float = LEVEL) -> Interval:
    """Intercept of that regression with the slope held at 1: above 0 where more default than the PDs state.

    Raises:
        ValueError: as in `hosmer_lemeshow`.
    """
    ordered = Ordered.of(y, pd)
    return _calibration_in_the_large(ordered, _log_odds(ordered.pd), level)


def _calibration_in_the_large(ordered: Ordered, odds: Floats, level: float = LEVEL) -> Interval:
    reason = _no_fit(ordered)
    if reason is not None:
        return Interval(None, None, None, reason)
    found = _logistic(_Regression(ordered.y, None, odds))
    if found is None:
        return Interval(None, None, None, _NO_MAXIMUM)
    return _wald(found[0][0], found[1][0, 0], level)


def _no_slope(bad: Floats, good: Floats) -> str | None:
    """Why no slope can be had from the ascending log-odds of both classes; None where one can.

    The likelihood has its one maximum where the classes overlap (Albert & Anderson 1984, "On the existence of
    maximum likelihood estimates in logistic regression models", Biometrika 71).
    """
    if max(bad[-1], good[-1]) - min(bad[0], good[0]) < _CONSTANT:
        return "all clients have one PD"
    if bad[0] >= good[-1] or good[0] >= bad[-1]:
        return "the PDs part defaulters and others perfectly"
    return None


@dataclass(frozen=True)
class _Regression:
    """Logistic regression of the outcome on one regressor, where there is one, and a constant.

    Its sums run over blocks of clients: what a block needs stays in the processor's cache.

    Args:
        y: (n,) outcomes of both classes, or shares of defaulters.
        regressor: (n,), or None for the constant alone.
        offset: (n,) log-odds that are taken as given, or None for 0.
        clients: (n,) how many clients each row stands for, or None for one.
    """

    y: NDArray[Any]
    regressor: Floats | None
    offset: Floats | None
    clients: Floats | None = None

    @property
    def size(self) -> int:
        """How many weights there are."""
        return 1 if self.regressor is None else 2

    def likelihood(self, weights: Floats) -> float:
        """Its logarithm."""
        return sum(
            float(((y * odds - np.logaddexp(0, odds)) * clients).sum())
            for y, _, odds, clients in self._blocks(weights)
        )

    def slopes(self, weights: Floats) -> tuple[Floats, Floats]:
        """Gradient of the log-likelihood, and the information matrix."""
        gradient, information = np.zeros(self.size), np.zeros((self.size, self.size))
        for y, regressor, odds, clients in self._blocks(weights):
            rate = expit(odds)
            missed, spread = y - rate, np.square(rate)
            np.subtract(rate, spread, out=spread)
            if self.clients is not None:
                missed *= clients
                spread *= clients
            gradient[-1] += missed.sum()
            information[-1, -1] += spread.sum()
            if regressor is not None:
                missed *= regressor
                gradient[0] += missed.sum()
                spread *= regressor
                information[0, 1] += spread.sum()
                spread *= regressor
                information[0, 0] += spread.sum()
        information[-1, 0] = information[0, -1]
        return gradient, information

    def _blocks(self, weights: Floats) -> Iterator[tuple[NDArray[Any], Floats | None, Floats, Floats | int]]:
        for start in range(0, self.y.size, _BLOCK):
            part = slice(start, start + _BLOCK)
            offset = 0.0 if self.offset is None else self.offset[part]
            regressor = None if self.regressor is None else self.regressor[part]
            along = 0.0 if regressor is None else weights[0] * regressor
            odds = np.broadcast_to(along + (weights[-1] + offset), self.y[part].shape)
            yield self.y[part], regressor, odds, 1 if self.clients is None else self.clients[part]

    def grouped(self) -> "_Regression":
        """About `_GROUPS` rows of neighbours in its place, each with their mean."""
        starts = np.linspace(0, self.y.size, _GROUPS, endpoint=False, dtype=np.int64)
        # The last defaulter and the first of the others are no neighbours: their PDs lie far apart, and a
        # group of both would throw the maximum off by more than all others together.
        starts = np.union1d(starts, int(self.y.sum()) % self.y.size)
        clients = np.diff(starts, append=self.y.size).astype(np.float64)

        def mean(column: NDArray[Any] | None) -> Floats | None:
            return None if column is None else np.add.reduceat(column, starts, dtype=np.float64) / clients

        share = np.add.reduceat(self.y, starts, dtype=np.float64) / clients
        return _Regression(share, mean(self.regressor), mean(self.offset), clients)


def _logistic(rows: _Regression) -> tuple[Floats, Floats] | None:
    """Weights of the maximum likelihood and their covariance; None where they are not found.

    A trust region leads near the maximum, where plain Newton steps would be thrown out by extreme PDs; they
    finish the work to the last digits. Of many clients, in order, the trust region looks at groups of
    neighbours, whose maximum lies near theirs; where that leads nowhere it looks at all of them.
    """
    if rows.y.size > _MANY:
        found = _newton(rows, _near_maximum(rows.grouped()))
        if found is not None:
            return found
    return _newton(rows, _near_maximum(rows))


def _near_maximum(rows: _Regression) -> Floats:
    clients = 1 if rows.clients is None else rows.clients
    defaulters = float((rows.y * clients).sum())
    scale = min(defaulters, float((np.ones(rows.y.size) * clients).sum()) - defaulters)
    return np.asarray(
        minimize(
            lambda w: -rows.likelihood(w) / scale,
            np.zeros(rows.size),
            jac=lambda w: -rows.slopes(w)[0] / scale,
            hess=lambda w: rows.slopes(w)[1] / scale,
            method="trust-exact",
            options={"gtol": _NEAR},
        ).x
    )


def _newton(rows: _Regression, weights: Floats) -> tuple[Floats, Floats] | None:
    for _ in range(_STEPS):
        gradient, information = rows.slopes(weights)
        if not np.isfinite(information).all() or np.linalg.matrix_rank(information) < rows.size:
            return None
        step = np.linalg.solve(information, gradient)
        weights = np.asarray(weights + step)
        if gradient @ step < _CONVERGED:
            # Where the search ends, so that it does not matter where it began.
            if gradient @ step > _SETTLED:
                _, information = rows.slopes(weights)
            return weights, np.asarray(np.linalg.inv(information), dtype=np.float64)
    return None


def _wald(weight: float, variance: float, level: float) -> Interval:
    half = _quantile(level) * math.sqrt(variance)
    return Interval(float(weight), float(weight) - half, float(weight) + half)


def _log_odds(pd: Floats) -> Floats:
    held = np.clip(pd, _EDGE, 1 - _EDGE)
    return np.asarray(logit(held, out=held))


def _no_fit(ordered: Ordered) -> str | None:
    return ordered.one_class if ordered.pd.size else "no rows"
