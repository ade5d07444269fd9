import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditflow.columns import ATTRIBUTE_NAMES
from models.stability import (
    BIN_SCHEMA,
    ReferenceBins,
    band,
    contributions,
    counts,
    psi,
    psi_from_counts,
    reference_bins,
    share_floor,
)

# OptBinning's documentation, "Tutorial: Scorecard monitoring" (FICO HELOC data), `psi_table()`:
# lower bin edges, actual counts, expected counts, PSI of each bin; the total is 0.006084.
PUBLISHED_CUTS = (42.15, 47.17, 52.28, 54.40, 58.72, 61.84, 66.23, 68.50, 73.14)
PUBLISHED_ACTUAL = (245, 310, 390, 187, 505, 284, 329, 177, 346, 365)
PUBLISHED_EXPECTED = (599, 735, 939, 418, 1269, 542, 832, 401, 747, 839)
PUBLISHED_PSI = (
    0.000175, 0.000026, 0.000125, 0.000107, 0.000921, 0.003308, 0.000710, 0.000048, 0.000638, 0.000025,
)  # fmt: skip


def test_published_table():
    result = psi_from_counts(ReferenceBins("amount", PUBLISHED_CUTS, PUBLISHED_EXPECTED), PUBLISHED_ACTUAL)
    assert result.value == pytest.approx(0.006084, abs=5e-7)
    np.testing.assert_allclose(result.bins["contribution"], PUBLISHED_PSI, atol=5e-7)
    assert (result.reference_rows, result.current_rows, result.band) == (7321, 3138, "stable")
    assert dict(result.bins.schema) == BIN_SCHEMA


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "stable"),
        (0.0999, "stable"),
        (0.10, "moderate"),
        (0.2499, "moderate"),
        (0.25, "significant"),
        (9, "significant"),
    ],
)
def test_bands(value, expected):
    assert band(value) == expected


# --- bins --------------------------------------------------------------------------------------------


def test_deciles_of_a_plain_sample():
    bins = reference_bins(np.arange(1, 101), "amount")
    assert bins.cuts == (10, 20, 30, 40, 50, 60, 70, 80, 90)
    assert bins.reference == (10,) * 10
    assert bins.labels == ("≤ 10", "10 – 20", *[f"{n} – {n + 10}" for n in range(20, 90, 10)], "> 90")


@pytest.mark.parametrize(
    ("values", "cuts", "reference"),
    [
        ([0] * 70 + list(range(1, 31)), (0, 10, 20), (70, 10, 10, 10)),  # most clients paid nothing
        ([1, 2], (1,), (1, 1)),
        ([5] * 99 + [6], (5,), (99, 1)),
        ([4] + [5] * 99, (4,), (1, 99)),  # the deciles alone would leave no cut
    ],
)
def test_equal_deciles_are_merged(values, cuts, reference):
    bins = reference_bins(values, "amount")
    assert (bins.cuts, bins.reference) == (cuts, reference)


def test_a_constant_can_be_seen_to_move():
    bins = reference_bins([7.0, 7.0, 7.0], "amount")
    assert bins.labels == ("7", "other")
    assert psi(bins, [7.0] * 50).value == 0
    assert psi(bins, [6.0] * 50).band == "significant"


def test_codes_have_a_bin_each_and_one_for_the_unseen():
    bins = reference_bins(pl.Series([-2, -2, 0, 1], dtype=pl.Int16), "code")
    assert bins.labels == ("-2", "0", "1", "other")
    assert counts(bins, pl.Series([-3, -2, 0, 1, 8, 8], dtype=pl.Int16)).tolist() == [1, 1, 1, 3]


@pytest.mark.parametrize(
    ("cuts", "labels"),
    [
        ((20_000, 50_000, 340_000), ("≤ 20,000", "20,000 – 50,000", "50,000 – 340,000", "> 340,000")),
        ((-1500, 0), ("≤ -1,500", "-1,500 – 0", "> 0")),
        ((0.0814, 0.12, 0.4371), ("≤ 0.0814", "0.0814 – 0.12", "0.12 – 0.437", "> 0.437")),
        ((0.12341, 0.12342), ("≤ 0.12341", "0.12341 – 0.12342", "> 0.12342")),
        ((390.25, 20_123.5), ("≤ 390", "390 – 20,124", "> 20,124")),
        ((1e-9, 0.5), ("≤ 1e-09", "1e-09 – 0.5", "> 0.5")),
    ],
)
def test_labels_are_short_and_differ(cuts, labels):
    assert ReferenceBins("amount", cuts, (1,) * (len(cuts) + 1)).labels == labels


@pytest.mark.parametrize("values", [[], [np.nan, 1.0], pl.Series([None, 1])])
def test_a_reference_needs_values(values):
    with pytest.raises(ValueError, match="reference sample"):
        reference_bins(values, "amount")


@pytest.mark.parametrize(
    ("kind", "cuts", "reference"),
    [
        ("amount", (1,), (1,)),
        ("amount", (2, 1), (1, 1, 1)),
        ("amount", (1, 1), (1, 1, 1)),
        ("code", (1,), (1, -1)),
        ("x", (1,), (1, 1)),
    ],
)
def test_impossible_bins_are_refused(kind, cuts, reference):
    with pytest.raises(ValueError, match=r"cuts|kind"):
        ReferenceBins(kind, cuts, reference)


def test_every_attribute_gets_bins(clients):
    from models.stability import attribute_bins

    bins = attribute_bins(clients)
    assert tuple(bins) == ATTRIBUTE_NAMES
    assert bins["pay_1"].kind == "code"
    assert bins["age"].kind == bins["limit_bal"].kind == "amount"
    assert all(b.rows == clients.height for b in bins.values())


# --- the index ---------------------------------------------------------------------------------------

amounts = st.lists(st.integers(-50, 50).map(float), min_size=1, max_size=60)
shares = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=2, max_size=12).filter(
    lambda rows: sum(a for a, _ in rows) > 0 and sum(b for _, b in rows) > 0
)


def index(reference, current):
    bins = ReferenceBins("amount", tuple(range(len(reference) - 1)), tuple(reference))
    return psi_from_counts(bins, current).value


@given(shares)
def test_never_negative_and_symmetric(rows):
    before, after = [a for a, _ in rows], [b for _, b in rows]
    assert index(before, after) >= 0
    assert index(before, after) == pytest.approx(index(after, before), abs=1e-12)


@given(st.lists(st.integers(0, 500), min_size=2, max_size=12).filter(any), st.integers(1, 50))
def test_zero_for_equal_shares(before, times):
    assert index(before, [n * times for n in before]) == pytest.approx(0, abs=1e-12)


@given(amounts, amounts)
@settings(deadline=None)
def test_invariant_under_rising_transforms(reference, current):
    plain = psi(reference_bins(reference, "amount"), current)
    bent = psi(reference_bins(np.exp(np.array(reference) / 10), "amount"), np.exp(np.array(current) / 10))
    assert plain.value == pytest.approx(bent.value, abs=1e-12)


@given(amounts, amounts, amounts, st.sampled_from(["amount", "code"]))
@settings(deadline=None)
def test_counts_of_parts_add_up(reference, first, second, kind):
    bins = reference_bins(reference, kind)
    together = counts(bins, first + second)
    assert together.tolist() == (counts(bins, first) + counts(bins, second)).tolist()
    assert together.sum() == len(first) + len(second)


@given(amounts, st.sampled_from(["amount", "code"]))
@settings(deadline=None)
def test_the_reference_against_itself(reference, kind):
    bins = reference_bins(reference, kind)
    assert bins.rows == len(reference)
    assert psi(bins, reference).value == 0
    inhabited = bins.reference if bins.kind == "amount" else bins.reference[:-1]
    assert min(inhabited) > 0


@given(amounts, st.sampled_from(["amount", "code"]))
def test_state_survives_json(reference, kind):
    bins = reference_bins(reference, kind)
    assert ReferenceBins.from_state(json.loads(json.dumps(bins.to_state()))) == bins


def test_the_floor_for_empty_bins():
    # By hand: 10,000 rows a side, a bin that held 1 % is now empty, so it counts as 1e-4.
    assert share_floor(10_000, 10_000) == 1e-4
    value = contributions([0.01], [0.0], floor=1e-4)[0]
    assert value == pytest.approx((1e-4 - 0.01) * np.log(1e-4 / 0.01))
    # Of 100 rows, none in a bin may well be half a row: the floor is 0.5 %, for both sides.
    assert share_floor(10_000, 100) == share_floor(100, 10_000) == 0.005
    assert contributions([0.004], [0.0], floor=0.005)[0] == 0


def test_a_doubled_amount_is_seen():
    # On heavy-tailed amounts reference deciles see what equal-width bins hide.
    amount = np.random.default_rng(0).lognormal(10, 1, 20_000)
    bins = reference_bins(amount, "amount")
    assert psi(bins, amount * 2).value > 0.25
    assert psi(bins, amount * 1.02).band == "stable"


@pytest.mark.parametrize(
    ("current", "reason"),
    [
        ([], "no rows"),
        (None, "the variable is absent"),
        ([np.nan, np.nan], "all 2 values are missing"),
        (pl.Series([None, None], dtype=pl.Int16), "all 2 values are missing"),
        (pl.Series([None]), "all 1 values are missing"),
    ],
)
@pytest.mark.parametrize("kind", ["amount", "code"])
def test_without_rows_there_is_a_reason(current, reason, kind):
    result = psi(reference_bins([1, 2, 3], kind), current)
    assert (result.value, result.band, result.reason) == (None, "not run", reason)
    assert result.bins.is_empty()
    assert dict(result.bins.schema) == BIN_SCHEMA


def test_missing_values_are_counted_apart():
    result = psi(reference_bins([1, 2, 3], "code"), pl.Series([1, 2, 3, None]))
    assert (result.missing, result.current_rows, result.value) == (1, 3, 0)


def test_wrong_number_of_counts_is_refused():
    with pytest.raises(ValueError, match="expected 2 counts"):
        psi_from_counts(ReferenceBins("amount", (1,), (1, 1)), [1, 2, 3])
