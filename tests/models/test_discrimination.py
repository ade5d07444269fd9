"""DeLong's interval and test against published values and their definition over all pairs."""

import math
import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import norm, ttest_rel

from models import discrimination
from models.discrimination import (
    Placements,
    auc_difference,
    auc_interval,
    brier_difference,
    difference_of,
)
from models.metrics import Ordered

CLIENTS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 6), st.integers(0, 6)), min_size=4, max_size=40
).map(lambda rows: tuple(np.array(column) for column in zip(*rows, strict=True)))


# DeLong, DeLong & Clarke-Pearson (1988): the 43 patients on whom all three tests were measured, and whether
# surgery helped. A low K-G score is good.
ALBUMIN = np.fromstring(
    "3.0 3.2 3.9 2.8 3.2 0.9 2.5 1.6 3.8 3.7 3.2 3.8 4.1 3.6 4.3 3.6 2.3 4.2 4.0 3.5 3.8 3.0 4.5 3.7 "
    "3.1 4.1 4.3 4.3 3.2 2.6 3.3 1.7 3.7 3.3 4.2 3.5 2.9 2.1 2.8 4.0 3.3 3.7 3.6",
    sep=" ",
)
PROTEIN = np.fromstring(
    "5.8 6.3 6.8 4.8 5.8 4.0 5.7 5.6 5.7 6.7 5.4 6.6 6.6 5.7 7.0 6.7 4.4 7.6 6.6 5.8 6.8 4.7 7.4 7.4 "
    "6.6 8.2 7.0 6.5 5.1 4.7 6.8 4.0 6.1 6.3 7.7 6.2 5.7 4.8 6.2 7.0 5.7 6.9 6.6",
    sep=" ",
)
KG_SCORE = np.fromstring(
    "10 5 3 6 3 5 8 5 5 6 4 6 5 5 4 4 6 4 6 6 7 8 5 5 6 6 5 4 5 6 6 7 5 7 6 5 9 7 8 7 6 5 5",
    sep=" ",
)
HELPED = np.fromstring(
    "0 1 1 0 1 0 0 1 1 1 1 1 1 1 1 0 1 0 0 1 1 0 1 1 1 1 1 1 1 1 0 0 1 1 1 1 0 1 0 1 1 1 1",
    sep=" ",
)
TESTS = {"albumin": ALBUMIN, "protein": PROTEIN, "kg": -KG_SCORE}


# ── Published values ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("test", "area", "error"),
    [("albumin", 0.7366, 0.0927), ("kg", 0.7258, 0.1028), ("protein", 0.6478, 0.1000)],
)
def test_area_and_standard_error_are_the_published_ones(test, area, error):
    """SAS/STAT user's guide, LOGISTIC procedure, "Comparing receiver operating characteristic curves"."""
    found = auc_interval(HELPED, TESTS[test])
    assert found.value == pytest.approx(area, abs=5e-5)
    for end, sign in ((found.low, -1), (found.high, 1)):
        half = sign * (logit(end) - logit(found.value))
        assert half * found.value * (1 - found.value) / 1.959964 == pytest.approx(error, abs=5e-5)


@pytest.mark.parametrize(
    ("test", "estimate", "low", "high", "chi_square", "p"),
    [
        ("albumin", 0.0108, -0.1761, 0.1976, 0.0127, 0.9102),
        ("protein", -0.0780, -0.2830, 0.1271, 0.5554, 0.4561),
    ],
)
def test_paired_difference_is_the_published_one(test, estimate, low, high, chi_square, p):
    """From the same example: each test against the K-G score."""
    found = auc_difference(HELPED, TESTS[test], TESTS["kg"])
    seen = (found.difference, found.low, found.high, found.z**2, found.p_value)
    assert seen == pytest.approx((estimate, low, high, chi_square, p), abs=6e-5)
    assert (found.auc_a, found.auc_b) == tuple(
        auc_interval(HELPED, TESTS[name]).value for name in (test, "kg")
    )


# ── Definitions ─────────────────────────────────────────────────────────────────────────────────


def both_classes(clients):
    return 2 <= clients[0].sum() <= clients[0].size - 2


def components(y, score):
    """The definition: over all pairs, ties half."""
    bad, good = score[y == 1], score[y == 0]
    won = (bad[:, None] > good[None, :]) + 0.5 * (bad[:, None] == good[None, :])
    return won.mean(), won.mean(axis=1), won.mean(axis=0)


@settings(max_examples=60)
@given(CLIENTS.filter(both_classes))
def test_interval_is_delong_s_on_the_logit(clients):
    y, score, _ = clients
    auc, of_bad, of_good = components(y, score)
    error = math.sqrt(of_bad.var(ddof=1) / of_bad.size + of_good.var(ddof=1) / of_good.size)
    found = auc_interval(y, score)
    assert found.value == pytest.approx(auc, rel=1e-15)
    if found.reason:
        assert error == 0 or auc in (0, 1)
        return
    half = norm.ppf(0.975) * error / (auc * (1 - auc))
    for end, sign in ((found.low, -1), (found.high, 1)):
        assert math.log(end / (1 - end)) == pytest.approx(math.log(auc / (1 - auc)) + sign * half)


@settings(max_examples=60)
@given(CLIENTS.filter(both_classes))
def test_difference_is_delong_s_paired_test(clients):
    y, a, b = clients
    (auc_a, bad_a, good_a), (auc_b, bad_b, good_b) = components(y, a), components(y, b)
    covariances = [np.cov(np.stack(pair)) / pair[0].size for pair in ((bad_a, bad_b), (good_a, good_b))]
    contrast = np.array([1, -1])
    variance = sum(contrast @ c @ contrast for c in covariances)
    found = auc_difference(y, a, b)
    assert found.difference == pytest.approx(auc_a - auc_b)
    if found.reason:
        assert variance == pytest.approx(0, abs=1e-12)
        assert (found.difference == 0) == ("alike" in found.reason)
        return
    assert found.z == pytest.approx((auc_a - auc_b) / math.sqrt(variance))
    assert found.p_value == pytest.approx(2 * norm.sf(abs(found.z)))
    assert found.high - found.low == pytest.approx(2 * norm.ppf(0.975) * math.sqrt(variance))


@given(CLIENTS, st.randoms(use_true_random=False))
def test_order_of_the_rows_changes_nothing(clients, random):
    order = list(range(clients[0].size))
    random.shuffle(order)
    shuffled = [column[order] for column in clients]
    assert auc_interval(*clients[:2]) == auc_interval(*shuffled[:2])
    assert auc_difference(*clients) == auc_difference(*shuffled)
    held = [column / 6 for column in clients[1:]]
    assert brier_difference(clients[0], *held) == brier_difference(shuffled[0], *(h[order] for h in held))


def test_interval_holds_the_true_auc_as_often_as_it_says():
    rng = np.random.default_rng(3)
    true = norm.cdf(1 / math.sqrt(2))  # defaulters N(1, 1), others N(0, 1)
    hits = 0
    for _ in range(400):
        y = np.repeat([1, 0], [60, 140])
        found = auc_interval(y, rng.normal(size=200) + y)
        hits += found.low <= true <= found.high
    assert 0.92 <= hits / 400 <= 0.98


@pytest.mark.parametrize(
    ("y", "score", "value", "words"),
    [
        ([], [], None, "no rows"),
        ([0] * 10, range(10), None, "one class only: 0 defaulters among 10 clients"),
        ([1] * 10, range(10), None, "one class only: 10 defaulters among 10 clients"),
        ([0, 0, 1], [1, 3, 2], 0.5, "1 defaulters among 3 clients"),
        ([0, 0, 1, 1], [1, 2, 3, 4], 1.0, "do not overlap"),
        ([0, 0, 1, 1], [1, 1, 1, 1], 0.5, "tells no two clients apart"),
    ],
)
def test_what_cannot_be_computed_says_why(y, score, value, words):
    found = auc_interval(y, list(score))
    assert (found.value, found.low, found.high) == (value, None, None)
    assert words in found.reason


@pytest.mark.parametrize("y", [[0] * 5, [1] * 5, [], [0, 1], [0, 0, 1], [1, 1, 0]])
def test_difference_without_enough_of_a_class_says_why(y):
    rows = np.arange(len(y)) / 7
    found = auc_difference(y, rows, rows[::-1])
    assert (found.low, found.high, found.z, found.p_value) == (None,) * 4
    assert found.reason
    assert (found.difference is None) == (len(set(y)) < 2)


def test_difference_that_does_not_vary_has_no_interval():
    """A perfect order against none: 1/2 on every client."""
    found = auc_difference([0, 0, 0, 1, 1], [1, 2, 3, 4, 5], [1] * 5)
    assert (found.auc_a, found.auc_b, found.difference, found.z) == (1, 0.5, 0.5, None)
    assert "the same on every client" in found.reason


def test_area_has_no_rounding_noise():
    """Ties of thirds and sevenths, which no binary fraction holds."""
    y = np.repeat([1, 0], [7, 3])
    found = auc_difference(y, np.repeat([2, 1], [7, 3]), np.repeat([1, 2], [7, 3]))
    assert (found.auc_a, found.auc_b, found.difference) == (1, 0, 1)


def test_high_scores_may_be_infinite():
    assert auc_interval([0, 1, 0, 1, 1], [-np.inf, np.inf, 0.0, 1.0, -1.0]).value == 5 / 6


def test_same_ranking_is_no_difference():
    found = auc_difference([0, 1, 0, 1], [1, 2, 3, 4], [10, 20, 30, 40])
    assert (found.difference, found.p_value) == (0, None)
    assert "alike" in found.reason


def test_brier_difference_is_the_paired_mean():
    y, a, b = np.array([0, 1, 0, 1]), np.array([0.1, 0.6, 0.2, 0.9]), np.array([0.3, 0.5, 0.2, 0.7])
    gaps = (y - a) ** 2 - (y - b) ** 2
    found = brier_difference(y, a, b)
    assert found.value == pytest.approx(gaps.mean())
    assert found.high - found.value == pytest.approx(1.959964 * gaps.std(ddof=1) / 2, rel=1e-6)
    # A t-test's interval is wider by the quantile only.
    paired = ttest_rel((y - a) ** 2, (y - b) ** 2)
    assert found.value / ((found.high - found.value) / 1.959964) == pytest.approx(paired.statistic)


@pytest.mark.parametrize(
    ("y", "a", "b", "value", "words"),
    [
        ([], [], [], None, "no rows"),
        ([1], [0.5], [0.0], -0.75, "one client only"),
        ([0, 1], [0.5, 0.1], [0.5, 0.1], 0.0, "the same PDs"),
        ([0, 0, 0], [0.5] * 3, [0.0] * 3, 0.25, "the same on every client"),
    ],
)
def test_brier_difference_without_interval_says_why(y, a, b, value, words):
    found = brier_difference(y, a, b)
    assert (found.value, found.low, found.high) == (value, None, None)
    assert words in found.reason


@pytest.mark.parametrize(
    ("y", "score"), [([0, 1], [1]), ([0, 2], [1, 2]), ([0, 1], [1, math.nan]), ([[0]], [[1]])]
)
def test_bad_input_is_refused(y, score):
    with pytest.raises(ValueError, match=r"outcome|score"):
        auc_interval(y, score)


@pytest.mark.parametrize("pd", [[0.2, 1.1], [0.2, -0.1], [0.2, math.nan], [0.2]])
def test_what_is_no_pd_has_no_brier_score(pd):
    with pytest.raises(ValueError, match=r"PD"):
        brier_difference([0, 1], [0.2, 0.3], pd)


@pytest.mark.parametrize("level", [0, 1, 95, -0.5, math.nan])
@pytest.mark.parametrize("statistic", [auc_difference, brier_difference])
def test_what_is_no_level_is_refused(statistic, level):
    with pytest.raises(ValueError, match="level of confidence"):
        statistic([0, 1, 0, 1], [0.1, 0.3, 0.2, 0.1], [0.3, 0.1, 0.2, 0.4], level)


# ── Placements ──────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.tuples(st.sampled_from([-1.0, 0.0, -0.0, 0.5, np.inf]), st.booleans())))
def test_placements_are_pairs_counted_one_by_one_in_the_order_of_the_clients(rows):
    score, y = np.array([score for score, _ in rows]), np.array([int(bad) for _, bad in rows])
    found, bad, good = Placements.of(y, score), score[y == 1], score[y == 0]
    assert found.of_bad.tolist() == [2 * (good < one).sum() + (good == one).sum() for one in bad]
    assert found.of_good.tolist() == [2 * (bad > one).sum() + (bad == one).sum() for one in good]


def test_variance_of_counts_has_no_rounding():
    counts = np.random.default_rng(3).integers(0, 2 * 10**8, 200_000)
    exact = statistics.variance(map(Fraction, counts.tolist()))
    assert discrimination._variance(counts) == float(exact)


def test_placements_of_other_clients_are_refused():
    with pytest.raises(ValueError, match="different clients"):
        difference_of(Placements.of([0, 1], [0.1, 0.2]), Placements.of([0, 1, 1], [0.1, 0.2, 0.3]))


@given(CLIENTS)
def test_placements_of_ordered_clients_are_those_of_the_clients(clients):
    y, ranks, _ = clients
    found, expected = Placements.of_ordered(*Ordered.with_places(y, ranks / 6)), Placements.of(y, ranks)
    assert np.array_equal(found.of_bad, expected.of_bad)
    assert np.array_equal(found.of_good, expected.of_good)
