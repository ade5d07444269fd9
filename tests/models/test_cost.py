import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from creditflow.errors import UsageError
from models.cost import NOBODY, Costs, CutOff, choose_cut_off, cut_off, expected_cost, theoretical_cut_off


def portfolio(rows: int, seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes drawn from their PDs."""
    rng = np.random.default_rng(seed)
    pd = expit(-1.5 + 1.2 * rng.normal(size=rows))
    return (rng.random(rows) < pd).astype(int), pd


@pytest.mark.parametrize(
    ("missed_default", "refused_good", "expected"),
    [
        (1, 1, 0.5),
        (5, 1, 1 / 6),
        # The German credit data's published cost matrix of 5 to 1, in other units.
        (2500, 500, 1 / 6),
        (1, 3, 0.75),
        (1e308, 1e308, 0.5),
    ],
)
def test_elkan_s_cut_off(missed_default, refused_good, expected):
    assert cut_off(Costs(missed_default, refused_good)) == pytest.approx(expected, rel=1e-15)


def test_at_elkan_s_cut_off_both_decisions_cost_the_same():
    costs = Costs(missed_default=7, refused_good=2)
    pd = cut_off(costs)
    assert pd * costs.missed_default == pytest.approx((1 - pd) * costs.refused_good)


# Five clients, costs 5 and 1: PD 0.1 (paid), 0.2 (defaulted), 0.3 (paid), 0.3 (defaulted), 0.9 (defaulted).
OUTCOMES, PDS = [0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.3, 0.9]


@pytest.mark.parametrize(
    ("at", "total"),
    [
        (0.0, 2),  # everybody refused: two who would have paid
        (0.15, 1),  # only the first is approved, and the third turned away
        (0.2, 1),  # a PD that reaches the cut-off is refused
        (0.25, 5 + 1),
        (0.5, 5 + 5),
        (NOBODY, 15),
    ],
)
def test_expected_cost_by_hand(at, total):
    assert expected_cost(OUTCOMES, PDS, at, Costs(5, 1)) == pytest.approx(total / 5)


def test_the_empirical_cut_off_by_hand():
    found = choose_cut_off(OUTCOMES, PDS, Costs(5, 1))
    assert found.cut_off == pytest.approx(0.15)
    assert (found.cost, found.cost_approving_all, found.cost_refusing_all) == (1 / 5, 15 / 5, 2 / 5)
    assert (found.refused, found.rows, found.defaulters, found.rule) == (4, 5, 3, "empirical")


def test_the_theoretical_cut_off_on_the_same_rows():
    found = theoretical_cut_off(OUTCOMES, PDS, Costs(5, 1))
    assert (found.cut_off, found.cost, found.refused) == (pytest.approx(1 / 6), 1 / 5, 4)
    assert found.rule == "theoretical"


@pytest.mark.parametrize(
    ("outcomes", "at", "refused"),
    [
        ([0, 0, 0], NOBODY, 0),
        ([1, 1, 1], 0.2, 3),
        # Approving or refusing the one of 0.2 costs the same: fewer are refused.
        ([0, 1, 1], 0.3, 2),
    ],
)
def test_one_class_and_the_ends(outcomes, at, refused):
    found = choose_cut_off(outcomes, [0.2, 0.4, 0.4], Costs(5, 1))
    assert (found.cut_off, found.refused) == (pytest.approx(at), refused)
    assert found.cost == 0


def test_of_equal_costs_the_one_that_refuses_fewest_is_taken():
    # Refusing both costs 0.3 once; approving both costs 0.1 three times: 0.1 · 3 is not 0.3 in binary.
    found = choose_cut_off([1, 1, 1, 0], [0.4, 0.4, 0.4, 0.4], Costs(missed_default=0.1, refused_good=0.3))
    assert (found.cut_off, found.refused) == (NOBODY, 0)


def test_clients_of_equal_pd_are_treated_alike():
    neighbours = [0.25, math.nextafter(0.25, 1)]
    found = choose_cut_off([0, 1], neighbours, Costs(5, 1))
    assert found.cut_off == neighbours[1]
    assert (found.cost, found.refused) == (0, 1)


rows = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0])), min_size=1, max_size=30
)
price = st.floats(0.01, 100)


@given(rows, price, price)
@settings(max_examples=150, deadline=None)
def test_no_cut_off_costs_less_than_the_empirical_one(clients, missed_default, refused_good):
    y, pd = zip(*clients, strict=True)
    costs = Costs(missed_default, refused_good)
    found = choose_cut_off(y, pd, costs)
    assert found.cost == pytest.approx(expected_cost(y, pd, found.cut_off, costs))
    for at in (0.0, 0.05, 0.1, 0.2, 0.25, 0.4, 0.5, 0.6, 0.7, 0.9, 1.0, NOBODY):
        assert found.cost <= expected_cost(y, pd, at, costs) * (1 + 1e-9)
    assert found.cost <= min(found.cost_approving_all, found.cost_refusing_all) * (1 + 1e-9)


@given(rows, st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_order_of_the_clients_does_not_matter(clients, random):
    shuffled = random.sample(clients, len(clients))
    first, second = (choose_cut_off(*zip(*c, strict=True), Costs()) for c in (clients, shuffled))
    assert first == second


@pytest.mark.parametrize("missed_default", [1, 2, 5, 10])
def test_with_true_pds_the_two_rules_agree(missed_default):
    y, pd = portfolio(200_000)
    costs = Costs(missed_default, 1)
    theoretical, empirical = theoretical_cut_off(y, pd, costs), choose_cut_off(y, pd, costs)
    assert empirical.cut_off == pytest.approx(theoretical.cut_off, abs=0.04)
    assert empirical.cost <= theoretical.cost <= empirical.cost * 1.005
    assert theoretical.cost < min(theoretical.cost_approving_all, theoretical.cost_refusing_all)


def test_only_the_ratio_of_the_costs_moves_the_cut_off():
    y, pd = portfolio(5_000)
    assert choose_cut_off(y, pd, Costs(5, 1)).cut_off == choose_cut_off(y, pd, Costs(500, 100)).cut_off


@pytest.mark.parametrize("outcomes", [OUTCOMES, [0] * 5])
def test_the_state_survives_json(outcomes):
    found = choose_cut_off(outcomes, PDS, Costs(7, 2))
    state = json.loads(json.dumps(found.to_state(), allow_nan=False))
    assert CutOff.from_state(state) == found
    assert state["costs"] == {"missed_default": 7, "refused_good": 2}


def test_a_damaged_state_is_refused():
    state = choose_cut_off(OUTCOMES, PDS, Costs()).to_state()
    for damaged in (state | {"extra": 1}, {"costs": state["costs"]}, state | {"costs": None}, {}):
        with pytest.raises(ValueError, match="no state of a cut-off"):
            CutOff.from_state(damaged)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", ["missed_default", "refused_good"])
def test_a_cost_that_is_none_is_refused(name, value):
    with pytest.raises(UsageError, match=rf"above zero.*Correct CREDITFLOW_COST_{name.upper()}\."):
        Costs(**{name: value})


@pytest.mark.parametrize(
    ("y", "pd", "message"),
    [
        ([], [], "with rows"),
        ([0, 1], [0.1], "two equal columns"),
        ([0, 2], [0.1, 0.2], "neither 0 nor 1"),
        ([0, 1], [0.1, 1.2], r"outside \[0, 1\]"),
        ([0, 1], [0.1, math.nan], "not a number"),
    ],
)
def test_unusable_rows_are_refused(y, pd, message):
    for call in (choose_cut_off, theoretical_cut_off):
        with pytest.raises(ValueError, match=message):
            call(y, pd, Costs())
