"""What is stored of a month for its validators, from frames."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditflow.errors import WarehouseCorrupt
from creditflow.month import Month
from models.discrimination import Placements
from models.stability import ReferenceBins
from tasks.assess import _ordered_as, compared, group_rows, limit_cuts, summed

HASHES = [2**64 - 1 - 7 * n for n in range(20)]


def rows_of(clients):
    return pl.DataFrame({"client": pl.Series(clients, dtype=pl.UInt64), "pd": [c / 2**64 for c in clients]})


@given(st.permutations(HASHES), st.permutations(HASHES))
def test_rows_are_put_in_the_order_of_the_champion_s_clients(first, second):
    ordered = _ordered_as(rows_of(first)["client"], rows_of(second), Month(2005, 4), "logistic")
    assert ordered.equals(rows_of(first))


@pytest.mark.parametrize("others", [HASHES[:-1], [*HASHES, 5], [*HASHES[:-1], 5], []])
def test_rows_of_other_clients_are_refused(others):
    with pytest.raises(WarehouseCorrupt, match=rf"20 clients .*, found {len(others)} of logistic"):
        _ordered_as(rows_of(HASHES)["client"], rows_of(others), Month(2005, 4), "logistic")


@pytest.fixture
def truth():
    rng = np.random.default_rng(4)
    pd = rng.beta(2, 6, 500)
    return pl.DataFrame({"pd": pd, "defaulted": (rng.random(500) < pd).astype(np.int8)})


def test_groups_hold_every_client_once_from_the_lowest_pd_up(truth):
    grades = truth["pd"].cut([0.1, 0.2, 0.4], labels=["A", "B", "C", "D"]).cast(pl.String)
    rows = group_rows(summed(truth, grades))
    assert [row["group_label"] for row in rows] == ["A", "B", "C", "D"]
    assert [row["position"] for row in rows] == [1, 2, 3, 4]
    for row in rows:
        inside = truth.filter(grades == row["group_label"])
        assert (row["clients"], row["defaulters"]) == (inside.height, inside["defaulted"].sum())
        assert row["expected"] == pytest.approx(inside["pd"].sum())
        assert (row["low_pd"], row["high_pd"]) == (inside["pd"].min(), inside["pd"].max())
        assert row["rate_low"] <= row["default_rate"] <= row["rate_high"]


def test_groups_do_not_depend_on_the_order_of_the_rows(truth):
    groups = pl.Series((truth["pd"] * 5).floor().cast(pl.Int8))
    order = np.random.default_rng(1).permutation(truth.height)
    assert summed(truth[order], groups[order]) == summed(truth, groups)


@pytest.mark.parametrize(
    ("cuts", "reference", "expected"),
    [
        (tuple(range(1, 10)), (10,) * 10, [2, 4, 6, 8]),
        ((1.0, 2.0), (70, 20, 10), [1.0, 2.0]),
        ((5.0,), (100, 0), [5.0]),
    ],
)
def test_limit_bands_are_about_fifths_of_the_reference(cuts, reference, expected):
    assert limit_cuts(ReferenceBins("amount", tuple(map(float, cuts)), reference)) == expected


def compare(y, ours, theirs):
    return compared(y, ours, Placements.of(y, ours), theirs, Placements.of(y, theirs))


def test_champion_that_states_the_truth_is_ahead_in_both(truth):
    noise = np.random.default_rng(2).permutation(truth["pd"].to_numpy())
    auc, brier = compare(truth["defaulted"].to_numpy(), truth["pd"].to_numpy(), noise)
    assert auc["low"] > 0
    assert auc["difference"] == pytest.approx(auc["champion_value"] - auc["value"])
    assert brier["high"] < 0
    assert brier["difference"] == pytest.approx(brier["champion_value"] - brier["value"])


def test_nobody_is_a_reason():
    nobody = np.array([])
    assert [row["reason"] for row in compare(nobody, nobody, nobody)] == ["no rows", "no rows"]
