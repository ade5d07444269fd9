"""How a training sample is allocated, and what it says of the rows left out."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from creditflow.columns import CLIENT_ID, OUTCOME
from models.baselines import make_logistic
from models.develop import split
from models.features import FeatureSet
from models.sample import Step, allocate, bound_on_loss, learning_curve

POOLS = st.dictionaries(
    st.tuples(st.sampled_from(["2005-01", "2005-02", "2005-03"]), st.integers(0, 1)), st.integers(0, 10**8)
)


def test_allocation_is_hamiltons():
    """The worked example of Wikipedia's "Largest remainder method" under the Hare quota: ten seats."""
    votes = {"yellow": 47_000, "white": 16_000, "red": 15_900, "green": 12_000, "blue": 6_000, "pink": 3_100}
    seats = allocate({(party, 0): count for party, count in votes.items()}, 10)
    assert {party: count for (party, _), count in seats.items()} == {
        "yellow": 5, "white": 2, "red": 1, "green": 1, "blue": 1, "pink": 0,
    }  # fmt: skip


@given(pool=POOLS, rows=st.integers(1, 300_000))
def test_allocation_is_proportional_and_whole(pool, rows):
    given_, total = allocate(pool, rows), sum(pool.values())
    assert sum(given_.values()) == min(rows, total)
    assert list(given_) == list(pool)
    for stratum, size in pool.items():
        assert 0 <= given_[stratum] <= size
        assert abs(given_[stratum] - size * min(rows, total) / max(total, 1)) < 1
    assert allocate(dict(reversed(pool.items())), rows) == given_


def test_equal_fractions_go_to_the_first():
    assert allocate({("2005-02", 1): 5, ("2005-01", 0): 5, ("2005-01", 1): 5}, 4) == {
        ("2005-02", 1): 1, ("2005-01", 0): 2, ("2005-01", 1): 1,
    }  # fmt: skip


# ── What it costs ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def curve(clients):
    return learning_curve(clients, seed=7, attributes="unprotected")


def test_steps_are_a_quarter_half_and_all_of_the_clients(curve, clients):
    fit = split(clients, 7).fit.height
    assert [step.share for step in curve] == [0.25, 0.5, 1.0]
    assert [step.fit_rows for step in curve] == pytest.approx([fit / 4, fit / 2, fit], abs=1)


def test_last_step_is_the_model_of_the_set(curve, clients, developed):
    y = split(clients, 7).held_out[OUTCOME]
    assert curve[-1].roc_auc == pytest.approx(
        roc_auc_score(y, developed["logistic"].score(split(clients, 7).held_out)["score"]), abs=1e-12
    )
    assert (curve[-1].loss, curve[-1].loss_low) == (0.0, None)


def test_loss_is_the_difference_on_the_same_clients(curve):
    for step in curve[:2]:
        assert step.loss == pytest.approx(curve[-1].roc_auc - step.roc_auc, abs=1e-12)
        assert step.loss_low < step.loss < step.loss_high
        assert step.low < step.roc_auc < step.high


def test_quarter_is_fitted_within_the_half(clients, monkeypatch):
    fitted = []

    class Fit:
        def fit(self, X, y):
            fitted.append({row.tobytes() for row in np.ascontiguousarray(X)})
            return make_logistic(7, FeatureSet()).fit(X, y)

    monkeypatch.setattr("models.sample.make_logistic", lambda *_: Fit())
    learning_curve(clients, seed=7, attributes="unprotected")
    quarter, half, full = fitted
    assert quarter < half < full


def test_curve_does_not_depend_on_the_order_of_rows(curve, clients):
    shuffled = clients.sample(fraction=1, shuffle=True, seed=3)
    assert learning_curve(shuffled, seed=7, attributes="unprotected") == curve


def test_clients_of_several_months_are_halved_whole(clients):
    months = [clients.with_columns(pl.lit(f"2005-0{m}").alias("month")) for m in (1, 2)]
    steps = learning_curve(pl.concat(months), seed=7, attributes="unprotected")
    assert all(step.fit_rows % 2 == 0 for step in steps)
    assert clients[CLIENT_ID].is_unique().all()


@pytest.mark.parametrize(
    ("loss", "pool", "bound"), [(0.001, 800, 0.003), (0.001, 100, 0.0), (-0.002, 800, 0.0), (None, 800, None)]
)
def test_bound_is_the_last_gain_a_doubling(loss, pool, bound):
    half = Step(0.5, 60, 0.7, 0.6, 0.8, loss, None, None)
    found = bound_on_loss(half, pool, 100)
    assert found is None if bound is None else found == pytest.approx(bound)
