"""What is stored of a month for its validators, from frames."""

import numpy as np
import polars as pl
import pytest

from models.discrimination import Placements
from models.stability import ReferenceBins
from tasks.assess import compared, group_rows, limit_cuts, summed


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
