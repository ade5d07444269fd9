"""DeLong's interval and test against their definition over all pairs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from models.discrimination import auc_difference, auc_interval, brier_difference

CLIENTS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 6), st.integers(0, 6)), min_size=4, max_size=40
).map(lambda rows: tuple(np.array(column) for column in zip(*rows, strict=True)))


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
    assert found.value == pytest.approx(auc)
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
    assert brier_difference(y, a, a).reason == "the two state the same PDs"


@pytest.mark.parametrize(
    ("y", "score"), [([0, 1], [1]), ([0, 2], [1, 2]), ([0, 1], [1, math.nan]), ([[0]], [[1]])]
)
def test_bad_input_is_refused(y, score):
    with pytest.raises(ValueError, match=r"outcome|score"):
        auc_interval(y, score)
