"""Tests of PDs against published values, other libraries and their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import approx_fprime
from scipy.special import expit, logit
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression

from models.backtest import (
    binomial_test,
    brier_parts,
    calibration_in_the_large,
    calibration_slope,
    herfindahl,
    hosmer_lemeshow,
    jeffreys_interval,
    jeffreys_test,
    reliability,
    spiegelhalter,
)
from models.metrics import equal_count_bins

COUNTS = st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))
PDS = st.floats(0, 1)
ROWS = st.lists(st.tuples(st.integers(0, 1), PDS), min_size=1, max_size=60).map(
    lambda rows: tuple(np.array(column) for column in zip(*rows, strict=True))
)


@pytest.fixture(scope="module")
def sample():
    """Clients whose PDs are too extreme by a known slope."""
    rng = np.random.default_rng(11)
    pd = rng.beta(1.2, 4, 4000)
    y = (rng.random(4000) < expit(0.7 * logit(pd) - 0.3)).astype(int)
    return y, pd


# ── One group ───────────────────────────────────────────────────────────────────────────────────


@given(COUNTS, PDS)
def test_binomial_test_is_scipy_s(counts, pd):
    clients, defaulters = counts
    expected = binomtest(defaulters, clients, pd, alternative="greater").pvalue
    assert binomial_test(clients, defaulters, pd).value == pytest.approx(expected, rel=1e-9, abs=1e-300)


@settings(max_examples=40)
@given(st.integers(1, 20).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), st.floats(0.01, 0.99))
def test_jeffreys_test_is_the_posterior_s_mass_up_to_the_pd(counts, pd):
    """Integrated over the log-odds, where the prior has no pole."""
    n, d = counts
    weight = lambda t: math.exp((d + 0.5) * math.log(expit(t)) + (n - d + 0.5) * math.log(expit(-t)))  # noqa: E731
    below, above = (
        quad(weight, *ends, limit=400, epsabs=0)[0] for ends in ((-60, logit(pd)), (logit(pd), 60))
    )
    assert jeffreys_test(n, d, pd).value == pytest.approx(below / (below + above), abs=1e-6)


@pytest.mark.parametrize(
    ("defaulters", "low", "high"),
    [(0, 0.0, 0.292), (1, 0.016, 0.501), (2, 0.065, 0.648), (3, 0.139, 0.765)],
)
def test_jeffreys_interval_of_seven_is_the_published_one(defaulters, low, high):
    """Brown, Cai & DasGupta (2001), table 5: 95 % limits for n = 7."""
    found = jeffreys_interval(7, defaulters)
    assert (round(found.low, 3), round(found.high, 3)) == (low, high)


@given(COUNTS)
def test_jeffreys_interval_is_symmetric_and_holds_the_rate(counts):
    clients, defaulters = counts
    found, mirrored = jeffreys_interval(clients, defaulters), jeffreys_interval(clients, clients - defaulters)
    assert found.low <= defaulters / clients <= found.high
    assert found.low == pytest.approx(1 - mirrored.high)


@pytest.mark.parametrize("test", [binomial_test, jeffreys_test])
@pytest.mark.parametrize(("pd", "defaulters", "p"), [(0.0, 3, 0.0), (1.0, 3, 1.0), (1.0, 7, 1.0)])
def test_pds_of_nought_and_one_are_judged(test, pd, defaulters, p):
    assert test(7, defaulters, pd).value == pytest.approx(p, abs=1e-12)


@pytest.mark.parametrize("arguments", [(5, 6, 0.1), (-1, 0, 0.1), (5, 1, 1.1), (5, 1, math.nan)])
def test_impossible_counts_and_pds_are_refused(arguments):
    with pytest.raises(ValueError, match=r"defaulters|PD"):
        binomial_test(*arguments)


def test_nobody_is_a_reason():
    assert binomial_test(0, 0, 0.1).reason == jeffreys_interval(0, 0).reason == "no rows"


# ── All clients ─────────────────────────────────────────────────────────────────────────────────


def test_hosmer_lemeshow_is_the_sum_over_both_classes(sample):
    y, pd = sample
    found = hosmer_lemeshow(y, pd)
    bins = equal_count_bins(pd)
    parts = [bins == b for b in range(10)]
    cells = [
        (side[p].sum() - stated[p].sum()) ** 2 / stated[p].sum()
        for p in parts
        for side, stated in ((y, pd), (1 - y, 1 - pd))
    ]
    assert found.statistic == pytest.approx(sum(cells), rel=1e-9)
    assert (found.degrees, hosmer_lemeshow(y, pd, fitted=True).degrees) == (10, 8)


@pytest.mark.parametrize("test", [hosmer_lemeshow, spiegelhalter])
def test_right_pds_are_rejected_as_often_as_the_level_says(test):
    rng = np.random.default_rng(5)
    rejected = 0
    for _ in range(400):
        pd = rng.beta(2, 6, 1000)
        rejected += test((rng.random(1000) < pd).astype(int), pd).p_value < 0.05
    assert 0.02 <= rejected / 400 <= 0.09


def test_spiegelhalter_is_the_standardised_brier_score(sample):
    """Z = (B - E B) / sd(B), with E and sd under right PDs (Spiegelhalter 1986)."""
    y, pd = sample
    brier, expected = ((y - pd) ** 2).mean(), (pd * (1 - pd)).mean()
    deviation = math.sqrt((((1 - 2 * pd) ** 2) * pd * (1 - pd)).sum()) / y.size
    assert spiegelhalter(y, pd).statistic == pytest.approx((brier - expected) / deviation)


def test_slope_and_intercept_are_those_of_a_logistic_regression(sample):
    y, pd = sample
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit(pd)[:, None], y)
    slope, intercept = calibration_slope(y, pd, level=0.999)
    assert slope.value == pytest.approx(fitted.coef_[0, 0], rel=1e-5)
    assert intercept.value == pytest.approx(fitted.intercept_[0], rel=1e-4)
    assert slope.low < 0.7 < slope.high
    assert intercept.low < -0.3 < intercept.high


def test_standard_errors_are_the_curvature_of_the_likelihood(sample):
    y, pd = sample
    odds = logit(pd)
    slope, intercept = calibration_slope(y, pd)

    def score(w):
        rest = y - expit(w[0] * odds + w[1])
        return np.array([(rest * odds).sum(), rest.sum()])

    at = np.array([slope.value, intercept.value])
    information = -approx_fprime(at, score, 1e-6)
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    for found, error in zip((slope, intercept), errors, strict=True):
        assert found.high - found.value == pytest.approx(1.959964 * error, rel=1e-4)


def test_in_the_large_makes_expected_and_observed_equal(sample):
    y, pd = sample
    shift = calibration_in_the_large(y, pd).value
    assert expit(logit(pd) + shift).sum() == pytest.approx(y.sum())


@given(ROWS)
def test_parts_of_the_brier_score_add_up_within_bins(rows):
    y, pd = rows
    found = {name: metric.value for name, metric in brier_parts(y, pd).items()}
    assert found["brier"] == pytest.approx(((y - pd) ** 2).mean())
    bins = reliability(y, pd)
    blurred = sum(b.clients * b.mean_pd**2 - 2 * b.defaulters * b.mean_pd + b.defaulters for b in bins)
    assert found["reliability"] - found["resolution"] + found["uncertainty"] == pytest.approx(
        blurred / y.size, abs=1e-9
    )


@given(ROWS, st.randoms(use_true_random=False))
def test_nothing_fails_and_the_order_of_the_rows_changes_nothing(rows, random):
    order = list(range(rows[0].size))
    random.shuffle(order)
    for statistic in (
        hosmer_lemeshow,
        spiegelhalter,
        brier_parts,
        calibration_slope,
        calibration_in_the_large,
        reliability,
    ):
        assert repr(statistic(*rows)) == repr(statistic(rows[0][order], rows[1][order]))


@pytest.mark.parametrize(
    ("statistic", "y", "pd", "words"),
    [
        (hosmer_lemeshow, [], [], "no rows"),
        (hosmer_lemeshow, [0] * 10, [0.0] * 10, "all 0 or all 1"),
        (spiegelhalter, [0, 1], [0.5, 0.5], "cannot vary"),
        (calibration_in_the_large, [0] * 10, [0.1] * 10, "one class only: 0 defaulters among 10"),
        (calibration_in_the_large, [], [], "no rows"),
    ],
)
def test_what_cannot_be_computed_says_why(statistic, y, pd, words):
    assert words in statistic(y, pd).reason


@pytest.mark.parametrize(
    ("y", "pd", "words"),
    [
        ([0, 1, 0, 1], [0.2] * 4, "one PD"),
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], "part defaulters and others perfectly"),
        ([1] * 4, [0.1, 0.2, 0.3, 0.4], "one class only"),
    ],
)
def test_slope_that_does_not_exist_says_why(y, pd, words):
    slope, intercept = calibration_slope(y, pd)
    assert words in slope.reason
    assert slope.reason == intercept.reason


@pytest.mark.parametrize(
    ("counts", "index", "normalised"),
    [
        ([1, 1, 1, 1], 0.25, 0.0),
        ([5, 0], 1.0, 1.0),
        ([3, 1], 0.625, 0.25),
        ([7], 1.0, None),
        ([], None, None),
    ],
)
def test_herfindahl(counts, index, normalised):
    found = herfindahl(counts)
    assert (found["index"].value, found["normalised"].value) == (index, normalised)
