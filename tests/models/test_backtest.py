"""Tests of PDs against published values, other libraries and their definitions."""

import math
import re
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import approx_fprime
from scipy.special import expit, logit
from scipy.stats import binomtest, chisquare
from sklearn.linear_model import LogisticRegression

import models.backtest as backtest_module
from models.backtest import (
    backtest,
    binomial_test,
    brier_parts,
    calibration_in_the_large,
    calibration_slope,
    hosmer_lemeshow,
    jeffreys_interval,
    jeffreys_test,
    spiegelhalter,
)
from models.metrics import Ordered, equal_count_bins

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


def test_binomial_test_of_a_documented_example():
    """scipy.stats.binomtest's: at most 10 % said to be unsafe, 3 of 15 found."""
    assert binomial_test(15, 3, 0.1).value == pytest.approx(0.18406106910639114, rel=1e-12)


def test_jeffreys_test_of_a_published_example():
    """Rösch & Scheule, "Deep credit risk", on Jeffreys' prior test: 2 of 6 at a PD of 3.67 %."""
    assert jeffreys_test(6, 2, 0.0367).value == pytest.approx(0.0044, abs=5e-5)


# Clients, mean PD, defaulters of ten grades: MathWorks, Risk Management Toolbox, documentation of
# risk.validation.jeffreysTest.
GRADES = [
    (56, 0.027845, 6),
    (79, 0.07689, 18),
    (68, 0.12764, 16),
    (54, 0.17523, 21),
    (45, 0.2268, 11),
    (40, 0.27502, 14),
    (40, 0.327, 10),
    (34, 0.37635, 13),
    (37, 0.41964, 19),
    (47, 0.47274, 22),
]


def test_grades_that_the_published_test_rejects():
    p_values = [jeffreys_test(clients, defaulters, pd).value for clients, pd, defaulters in GRADES]
    assert [p < 0.05 for p in p_values] == [True] * 4 + [False] * 6


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
    found = binomial_test(0, 0, 0.1), jeffreys_test(0, 0, 0.1), jeffreys_interval(0, 0)
    assert {result.reason for result in found} == {"no rows"}


@pytest.mark.parametrize("level", [0, 1, 95, -1, math.nan])
def test_what_is_no_level_is_refused(sample, level):
    for statistic in (
        calibration_slope,
        calibration_in_the_large,
        lambda *_, level: jeffreys_interval(9, 3, level),
    ):
        with pytest.raises(ValueError, match="level of confidence"):
            statistic(*sample, level=level)


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


@pytest.mark.parametrize(("fitted", "degrees"), [(False, 4), (True, 2)])
def test_hosmer_lemeshow_is_scipy_s_chi_square_of_the_cells(fitted, degrees):
    """Four groups of 50 with one PD each; scipy takes the degrees that are lost."""
    pd, defaulted = np.array([0.02, 0.1, 0.3, 0.6]), np.array([2, 8, 12, 33])
    y = np.concatenate([np.arange(50) < d for d in defaulted]).astype(int)
    cells = chisquare(
        np.append(defaulted, 50 - defaulted), np.append(50 * pd, 50 - 50 * pd), ddof=7 - degrees
    )
    found = hosmer_lemeshow(y, np.repeat(pd, 50), groups=4, fitted=fitted)
    assert (found.statistic, found.p_value) == pytest.approx((cells.statistic, cells.pvalue))
    assert found.degrees == degrees


@pytest.mark.parametrize(("pd", "brier", "z"), [((0.2, 0.2), 0.34, 1.06), ((0.4, 0.5), 0.30, 1.22)])
def test_spiegelhalter_of_a_published_example(pd, brier, z):
    """Rufibach (2010), "Use of Brier score to assess binary predictions", J. Clin. Epidemiol. 63, table 1."""
    assert spiegelhalter([1, 0], pd).statistic == pytest.approx(z, abs=0.005)
    assert brier_parts([1, 0], pd)["brier"].value == pytest.approx(brier, abs=0.006)


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


# The 23 launches before the Challenger: °F at the launch, and those where an O-ring failed.
LAUNCHES = [66, 70, 69, 68, 67, 72, 73, 70, 57, 63, 70, 78, 67, 53, 67, 75, 70, 81, 76, 79, 75, 76, 58]
FAILED = [0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1]


@pytest.mark.parametrize("unit", [10, 25])
def test_slope_and_intercept_of_a_published_regression(unit):
    """Failure on temperature: 15.0429 (7.3786) - 0.2322 (0.1082) t; Weisberg's data of R's alr4, by its glm.

    A PD whose log-odds are -t / unit has the slope 0.2322 · unit.
    """
    slope, intercept = calibration_slope(FAILED, expit(-np.array(LAUNCHES) / unit))
    assert intercept.value == pytest.approx(15.0429, abs=5e-5)
    assert slope.value / unit == pytest.approx(0.2322, abs=5e-5)
    for found, error in ((intercept, 7.3786), (slope, 0.1082 * unit)):
        assert (found.high - found.low) / (2 * 1.959964) == pytest.approx(error, rel=5e-4)
        assert found.high + found.low == pytest.approx(2 * found.value)


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


@given(
    st.integers(1, 400).flatmap(lambda n: st.tuples(st.just(n + 1), st.integers(1, n))),
    st.floats(0.001, 0.999),
)
def test_in_the_large_of_one_pd_has_a_closed_form(counts, pd):
    """Log-odds of the rate less those of the PD, with the error 1 / √(n r (1 - r))."""
    clients, defaulters = counts
    rate = defaulters / clients
    found = calibration_in_the_large((np.arange(clients) < defaulters).astype(int), np.full(clients, pd))
    assert found.value == pytest.approx(logit(rate) - logit(pd), abs=1e-9)
    error = 1 / math.sqrt(clients * rate * (1 - rate))
    assert found.high - found.value == pytest.approx(1.959964 * error, rel=1e-6)


def test_fit_stands_pds_of_nought_and_one():
    y, pd = np.arange(1000) % 2, np.zeros(1000)
    assert calibration_in_the_large(y, pd).value == pytest.approx(-logit(1e-12))
    foretold = calibration_in_the_large([0] + [1] * 57, [0.0] + [1.0] * 57)
    assert foretold.value == pytest.approx(math.log(57) / 2, abs=1e-3)
    assert foretold.low < -100 < 100 < foretold.high  # nothing can be told from so little doubt
    slope, _ = calibration_slope([0, 1, 0, 1], [1.0, 0.0, 0.0, 1.0])
    assert slope.value == pytest.approx(0)


def test_fit_finds_a_steep_slope():
    """One pair of neighbours in the wrong order is all that keeps the classes from being parted."""
    pd = np.linspace(0.3, 0.7, 2001)
    y = (pd > 0.5).astype(int)
    y[[1000, 1001]] = y[[1001, 1000]]
    slope, intercept = calibration_slope(y, pd)
    rest = y - expit(slope.value * logit(pd) + intercept.value)
    assert slope.value > 1000
    assert (rest.sum(), (rest * logit(pd)).sum()) == pytest.approx((0, 0), abs=1e-9)


def test_fit_tells_pds_next_to_each_other_apart(sample):
    y, pd = sample
    wide, narrow = calibration_slope(y, pd)[0], calibration_slope(y, expit(-1 + 1e-6 * logit(pd)))[0]
    assert narrow.value == pytest.approx(wide.value * 1e6, rel=1e-6)
    assert narrow.high == pytest.approx(wide.high * 1e6, rel=1e-6)


@settings(max_examples=60)
@given(ROWS)
def test_fit_solves_the_equations_of_the_likelihood(rows):
    """Where the classes overlap: no rest, and none that goes with the log-odds."""
    y, pd = rows
    slope, intercept = calibration_slope(y, pd)
    if slope.reason:
        assert "flat" not in slope.reason
        return
    odds = logit(np.clip(pd, 1e-12, 1 - 1e-12))
    rest = y - expit(slope.value * odds + intercept.value)
    assert (rest.sum(), (rest * odds).sum()) == pytest.approx((0, 0), abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.1, 0.25, 0.7])), min_size=1, max_size=60))
def test_parts_of_the_brier_score_add_up_where_a_bin_has_one_pd(rows):
    """Murphy (1973): reliability - resolution + uncertainty, by its definition over the PDs stated."""
    y, pd = (np.array(column) for column in zip(*rows, strict=True))
    found = {name: metric.value for name, metric in brier_parts(y, pd, bins=3 * len(rows)).items()}
    stated = [(p, (pd == p).sum(), y[pd == p].mean()) for p in np.unique(pd)]
    assert found["reliability"] == pytest.approx(sum(n * (p - r) ** 2 for p, n, r in stated) / y.size)
    assert found["resolution"] == pytest.approx(sum(n * (r - y.mean()) ** 2 for _, n, r in stated) / y.size)
    assert found["uncertainty"] == found["brier_reference"] == pytest.approx(y.var())
    assert found["reliability"] - found["resolution"] + found["uncertainty"] == pytest.approx(
        found["brier"], abs=1e-12
    )


@pytest.mark.parametrize(
    ("y", "pd", "skill"),
    [([0, 1, 0, 1], [0, 1, 0, 1], 1), ([0, 0, 0, 1], [0.25] * 4, 0), ([0, 1], [1, 0], -3)],
)
def test_skill_is_one_for_foresight_and_nought_for_the_base_rate(y, pd, skill):
    assert brier_parts(y, pd)["brier_skill"].value == pytest.approx(skill, abs=1e-12)


@pytest.mark.parametrize("label", [0, 1])
def test_skill_against_one_class_says_why(label):
    found = brier_parts([label] * 3, [0.1, 0.2, 0.3])
    assert found["brier_skill"].reason == f"one class only: {3 * label} defaulters among 3 clients"
    assert found["brier_reference"].value == 0


@given(ROWS)
def test_parts_of_the_brier_score_add_up_within_bins(rows):
    y, pd = rows
    found = {name: metric.value for name, metric in brier_parts(y, pd).items()}
    assert found["brier"] == pytest.approx(((y - pd) ** 2).mean())
    bins = equal_count_bins(pd)
    stated = np.array([pd[bins == b].mean() for b in bins])
    blurred = ((stated - y) ** 2).sum()
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
    ):
        found = repr(statistic(*rows))
        assert found == repr(statistic(rows[0][order], rows[1][order]))
        assert not re.search(r"\b(nan|inf)\b", found)


@pytest.mark.parametrize(
    ("statistic", "y", "pd", "words"),
    [
        (hosmer_lemeshow, [], [], "no rows"),
        (hosmer_lemeshow, [0] * 10, [0.0] * 10, "all 0 or all 1"),
        (hosmer_lemeshow, [1] * 3, [1.0] * 3, "all 0 or all 1"),
        (partial(hosmer_lemeshow, fitted=True), [0, 1, 0], [0.5] * 3, "1 groups of different PD are too few"),
        (spiegelhalter, [], [], "no rows"),
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
        ([1, 1, 0, 0], [0.1, 0.2, 0.3, 0.4], "part defaulters and others perfectly"),
        ([0, 1, 0, 1, 1], [0.1, 0.2, 0.2, 0.2, 0.4], "part defaulters and others perfectly"),
        ([1] * 4, [0.1, 0.2, 0.3, 0.4], "one class only"),
        ([0], [0.1], "one class only"),
        ([], [], "no rows"),
    ],
)
def test_slope_that_does_not_exist_says_why(y, pd, words):
    slope, intercept = calibration_slope(y, pd)
    assert words in slope.reason
    assert slope.reason == intercept.reason


# ── Many clients ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("slope", [0.6, 1.0, 3.0])
def test_search_that_begins_with_groups_ends_where_the_one_over_all_clients_does(monkeypatch, slope):
    rng = np.random.default_rng(8)
    odds = rng.normal(-1.5, 1.2, 60_000)
    pd, y = expit(odds), (rng.random(odds.size) < expit(slope * odds + 0.2)).astype(np.int8)
    grouped = (*calibration_slope(y, pd), calibration_in_the_large(y, pd))
    monkeypatch.setattr(backtest_module, "_MANY", odds.size)
    alone = (*calibration_slope(y, pd), calibration_in_the_large(y, pd))
    for one, other in zip(grouped, alone, strict=True):
        assert (one.value, one.low, one.high) == pytest.approx(
            (other.value, other.low, other.high), rel=1e-12
        )


@pytest.mark.parametrize("defaulters", [1, 4321, 59_999])
def test_no_group_has_defaulters_and_others(defaulters):
    y = (np.arange(60_000) < defaulters).astype(np.int8)
    grouped = backtest_module._Regression(y, np.linspace(0, 1, y.size), None).grouped()
    assert set(grouped.y) == {0.0, 1.0}
    assert (grouped.clients.sum(), grouped.clients[grouped.y == 1].sum()) == (y.size, defaulters)


def test_search_over_groups_that_leads_nowhere_is_made_over_all_clients(monkeypatch):
    rng = np.random.default_rng(9)
    pd = rng.beta(1, 4, 60_000)
    y = (rng.random(pd.size) < pd).astype(np.int8)
    expected = calibration_slope(y, pd)
    monkeypatch.setattr(backtest_module._Regression, "grouped", lambda self: exploding(self))
    slope, intercept = calibration_slope(y, pd)
    assert (slope.value, intercept.value) == pytest.approx((expected[0].value, expected[1].value), rel=1e-12)


def exploding(rows):
    """Groups whose maximum lies where Newton's steps fail: the outcome follows the regressor without fail."""
    size = rows.size
    return backtest_module._Regression(
        np.array([0.0, 1.0]), np.array([-1e-3, 1e-3]) if size == 2 else None, None, np.ones(2)
    )


def test_all_figures_at_once_are_those_of_each(sample):
    found = backtest(Ordered.of(*sample))
    assert found.brier == brier_parts(*sample)
    assert found.hosmer_lemeshow == hosmer_lemeshow(*sample)
    assert found.spiegelhalter == spiegelhalter(*sample)
    assert (found.calibration_slope, found.calibration_intercept) == calibration_slope(*sample)
    assert found.calibration_in_the_large == calibration_in_the_large(*sample)
