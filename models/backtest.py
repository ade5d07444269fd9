"""Do the PDs state the risk? Tests of realised defaults against PDs, overall and by group of clients.

Sources: Basel Committee on Banking Supervision (2005), "Studies on the validation of internal rating
systems", working paper 14; European Central Bank (2019), "Instructions for reporting the validation results
of internal models"; the papers named at each function. No test allows for clients who default together: where
they do, as in a recession, each rejects more often than its level says.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import beta, binom, chi2, norm

from models.discrimination import LEVEL, Interval, _quantile
from models.metrics import Metric, _checked, _one_class, equal_count_bins

TENTHS = 10
# A PD of 0 or 1 has no log-odds: as in models/calibration.py.
_EDGE = 1e-12
# Log-odds that differ by less over all clients are one PD with rounding noise.
_CONSTANT = 1e-9
# The search ends where expected and observed defaults differ by this share of the smaller class …
_NEAR = 1e-6
# … and Newton's steps from there end where the next is this small a share of a standard error, squared.
_STEPS, _CONVERGED = 20, 1e-14
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
    labels, pds = _sorted(y, pd)
    if not labels.size:
        return Test(None, None, None, "no rows")
    index = equal_count_bins(pds, groups)
    clients, observed, expected = (np.bincount(index, weights=w) for w in (None, labels, pds))
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
    labels, pds = _sorted(y, pd)
    if not labels.size:
        return Test(None, None, None, "no rows")
    variance = float(((1 - 2 * pds) ** 2 * pds * (1 - pds)).sum())
    if variance == 0:
        return Test(None, None, None, "the PDs are all 0, 1/2 or 1: the Brier score cannot vary")
    z = float(((labels - pds) * (1 - 2 * pds)).sum()) / math.sqrt(variance)
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
    labels, pds = _sorted(y, pd)
    names = ("brier", "brier_reference", "brier_skill", "reliability", "resolution", "uncertainty")
    if not labels.size:
        return {name: Metric(None, "no rows") for name in names}
    brier, rate = float(((labels - pds) ** 2).mean()), float(labels.mean())
    reference = rate * (1 - rate)
    index = equal_count_bins(pds, bins)
    clients, observed, expected = (np.bincount(index, weights=w) for w in (None, labels, pds))
    missed = float((clients * ((expected - observed) / clients) ** 2).sum() / labels.size)
    resolved = float((clients * (observed / clients - rate) ** 2).sum() / labels.size)
    skill = Metric(None, reason) if (reason := _one_class(labels)) else Metric(1 - brier / reference)
    return {
        "brier": Metric(brier),
        "brier_reference": Metric(reference),
        "brier_skill": skill,
        "reliability": Metric(missed),
        "resolution": Metric(resolved),
        "uncertainty": Metric(reference),
    }


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
    labels, pds = _sorted(y, pd)
    odds = _log_odds(pds)
    reason = _no_fit(labels) or _no_slope(labels, odds)
    if reason is not None:
        return Interval(None, None, None, reason), Interval(None, None, None, reason)
    # Standardised, so that PDs close to each other leave the information matrix well conditioned.
    centre, spread = float(odds.mean()), float(odds.std())
    rows = np.stack([(odds - centre) / spread, np.ones_like(odds)])
    found = _logistic(rows, labels, np.zeros_like(odds))
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
    labels, pds = _sorted(y, pd)
    reason = _no_fit(labels)
    if reason is not None:
        return Interval(None, None, None, reason)
    found = _logistic(np.ones((1, labels.size)), labels, _log_odds(pds))
    if found is None:
        return Interval(None, None, None, _NO_MAXIMUM)
    return _wald(found[0][0], found[1][0, 0], level)


def _no_slope(y: NDArray[Any], odds: Floats) -> str | None:
    """Why no slope can be had from clients of both classes, sorted by log-odds; None where one can.

    The likelihood has its one maximum where the classes overlap (Albert & Anderson 1984, "On the existence of
    maximum likelihood estimates in logistic regression models", Biometrika 71).
    """
    if odds[-1] - odds[0] < _CONSTANT:
        return "all clients have one PD"
    bad, good = odds[y == 1], odds[y == 0]
    if bad[0] >= good[-1] or good[0] >= bad[-1]:
        return "the PDs part defaulters and others perfectly"
    return None


def _logistic(rows: Floats, y: NDArray[Any], offset: Floats) -> tuple[Floats, Floats] | None:
    """Weights of the maximum likelihood and their covariance; None where they are not found.

    A trust region leads near the maximum, where plain Newton steps would be thrown out by extreme PDs; they
    finish the work to the last digits.

    Args:
        rows: (k, n) regressors.
        y: (n,) outcomes, of both classes.
        offset: (n,) log-odds that are taken as given.
    """
    scale = min(int(y.sum()), y.size - int(y.sum()))
    weights = minimize(
        lambda w: -_likelihood(rows, y, offset, w) / scale,
        np.zeros(len(rows)),
        jac=lambda w: -_gradient(rows, y, offset, w) / scale,
        hess=lambda w: _information(rows, offset, w) / scale,
        method="trust-exact",
        options={"gtol": _NEAR},
    ).x
    for _ in range(_STEPS):
        gradient, information = _gradient(rows, y, offset, weights), _information(rows, offset, weights)
        if np.linalg.matrix_rank(information) < len(rows):
            return None
        step = np.linalg.solve(information, gradient)
        weights = np.asarray(weights + step)
        if gradient @ step < _CONVERGED:
            return weights, np.asarray(np.linalg.inv(information), dtype=np.float64)
    return None


def _likelihood(rows: Floats, y: NDArray[Any], offset: Floats, weights: Floats) -> float:
    odds = _odds(rows, offset, weights)
    return float((y * odds - np.logaddexp(0, odds)).sum())


def _gradient(rows: Floats, y: NDArray[Any], offset: Floats, weights: Floats) -> Floats:
    return np.asarray((rows * (y - expit(_odds(rows, offset, weights)))).sum(axis=1))


def _information(rows: Floats, offset: Floats, weights: Floats) -> Floats:
    rate = expit(_odds(rows, offset, weights))
    spread = rate * (1 - rate)
    return np.array([[(one * other * spread).sum() for other in rows] for one in rows])


def _odds(rows: Floats, offset: Floats, weights: Floats) -> Floats:
    # No matrix product: the last digits of a long one depend on the number of threads.
    return np.asarray((weights[:, np.newaxis] * rows).sum(axis=0) + offset)


def _wald(weight: float, variance: float, level: float) -> Interval:
    half = _quantile(level) * math.sqrt(variance)
    return Interval(float(weight), float(weight) - half, float(weight) + half)


def _log_odds(pd: Floats) -> Floats:
    return np.asarray(logit(np.clip(pd, _EDGE, 1 - _EDGE)))


# ── Input ───────────────────────────────────────────────────────────────────────────────────────


def _sorted(y: ArrayLike, pd: ArrayLike) -> tuple[NDArray[np.int8], Floats]:
    """In ascending order of PD and outcome, so that no sum depends on the order of the rows."""
    labels, pds = _checked(y, pd)
    order = np.lexsort((labels, pds))
    return labels[order], pds[order]


def _no_fit(y: NDArray[np.int8]) -> str | None:
    return _one_class(y) if y.size else "no rows"
