import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy.special import expit
from scipy.stats import beta

from models.fairness import (
    FAIRNESS_SCHEMA,
    FOUR_FIFTHS,
    FOUR_FIFTHS_NOTE,
    MEASURES,
    NO_CUT_OFF,
    REFERENCE,
    both_tables,
    fairness_table,
    newcombe_interval,
    ratio_interval,
    wilson_interval,
)
from models.segments import NOT_RECEIVED, PROTECTED, segment_table

Z = 1.959963984540054  # of a 95 % interval
ATTRIBUTES = [dimension.name for dimension in PROTECTED]


@pytest.fixture(scope="module")
def portfolio(clients: pl.DataFrame) -> pl.DataFrame:
    """Clients with a PD that rises with the payment status, and who is flagged at one in four."""
    jitter = np.random.default_rng(5).normal(size=clients.height)
    pd = expit(-1.4 + 0.9 * clients["pay_1"].to_numpy() + 0.3 * jitter)
    return clients.with_columns(pl.Series("pd", pd), pl.Series("flagged", pd >= 0.25))


def by_sex(*men_and_women: tuple[int, int, int, int]) -> pl.DataFrame:
    """Men, then women: flagged and other defaulters, then flagged and other non-defaulters."""
    cells = [(True, 1), (False, 1), (True, 0), (False, 0)]
    rows = [
        (sex, flagged, defaulted)
        for sex, sizes in enumerate(men_and_women, start=1)
        for (flagged, defaulted), size in zip(cells, sizes, strict=True)
        for _ in range(size)
    ]
    return pl.DataFrame(
        rows,
        schema={"sex": pl.Int16, "flagged": pl.Boolean, "defaulted": pl.Int8},
        orient="row",
    ).with_columns(pd=pl.lit(0.2), age=pl.lit(40), marriage=pl.lit(1))


def figure(table: pl.DataFrame, group: str, measure: str, attribute: str = "sex") -> dict:
    return table.row(
        by_predicate=(pl.col("attribute") == attribute)
        & (pl.col("group_label") == group)
        & (pl.col("measure") == measure),
        named=True,
    )


def limits(row: dict) -> tuple:
    return row["value"], row["low"], row["high"]


# --- intervals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_s_interval_as_published(part, whole, low, high):
    """Newcombe (1998), "Two-sided confidence intervals for the single proportion: comparison of seven
    methods", Statistics in Medicine 17, table I, method 3."""
    interval = wilson_interval(part, whole)
    assert interval.value == part / whole
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((6, 7, 2, 7), 0.0582, 0.8062),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((0, 10, 0, 20), -0.1611, 0.2775),
        ((0, 10, 0, 10), -0.2775, 0.2775),
        ((10, 10, 0, 20), 0.6791, 1.0),
        ((10, 10, 0, 10), 0.6075, 1.0),
        # Perondi et al. (2004), as the tests of R's contingencytables state it.
        ((7, 34, 1, 34), 0.0189, 0.3404),
    ],
)
def test_newcombe_s_interval_as_published(counts, low, high):
    """Newcombe (1998), "Interval estimation for the difference between independent proportions", table II,
    method 10."""
    interval = newcombe_interval(*counts)
    assert interval.value == pytest.approx(counts[0] / counts[1] - counts[2] / counts[3])
    assert interval.low == pytest.approx(low, abs=5e-5)
    assert interval.high == pytest.approx(high, abs=5e-5)


@pytest.mark.parametrize(
    ("counts", "ratio", "low", "high", "digits"),
    [
        # Moore, McCabe & Craig, "Introduction to the Practice of Statistics", 9th edition, example 8.18.
        ((45, 411, 73, 411), 0.6164, 0.4364, 0.8707, 5e-5),
        # Perondi et al. (2004), as the tests of R's contingencytables state it.
        ((7, 34, 1, 34), 7.0, 0.9096, 53.8695, 1e-4),
    ],
)
def test_katz_s_interval_as_published(counts, ratio, low, high, digits):
    interval = ratio_interval(*counts)
    assert interval.value == pytest.approx(ratio, abs=digits)
    assert interval.low == pytest.approx(low, abs=digits)
    assert interval.high == pytest.approx(high, abs=digits)


shares = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(share=shares)
def test_wilson_s_limits_are_where_the_score_test_is_at_its_limit(share):
    interval = wilson_interval(*share)
    for limit in (interval.low, interval.high):
        assert abs(interval.value - limit) == pytest.approx(
            Z * math.sqrt(limit * (1 - limit) / share[1]), abs=1e-9
        )
    assert 0 <= interval.low <= interval.value <= interval.high <= 1


@given(one=shares, other=shares)
def test_newcombe_s_interval_turns_round_with_the_groups(one, other):
    there, back = newcombe_interval(*one, *other), newcombe_interval(*other, *one)
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))
    assert -1 <= there.low <= there.value <= there.high <= 1


@given(one=shares, other=shares)
def test_katz_s_interval_from_its_formula(one, other):
    interval = ratio_interval(*one, *other)
    (a, n), (b, m) = one, other
    if not b:
        assert interval.value is None
        assert interval.reason == "the reference group's rate is 0"
    elif not a or (a == n and b == m):
        assert (interval.value, interval.low, interval.high) == (float(a > 0), None, None)
        assert interval.reason.startswith("no interval")
    else:
        ratio, error = (a / n) / (b / m), math.sqrt((n - a) / (a * n) + (m - b) / (b * m))
        expected = (ratio, ratio * math.exp(-Z * error), ratio * math.exp(Z * error))
        assert (interval.value, interval.low, interval.high) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("interval", [wilson_interval, lambda *n: newcombe_interval(*n, *n)])
@pytest.mark.parametrize("counts", [(0, 0), (3, 2), (-1, 2)])
def test_counts_that_are_no_share(interval, counts):
    with pytest.raises(ValueError, match="must"):
        interval(*counts)


# --- measures ----------------------------------------------------------------------------------------


def test_a_table_worked_by_hand():
    """200 men and 400 women; PD 0.2 throughout, so 40 and 80 defaults are expected."""
    table = fairness_table(by_sex((30, 20, 50, 100), (60, 20, 80, 240)))
    expected = {
        "selection_rate": (120 / 200, 200, 320 / 400 - 0.15, 400),
        "selection_rate_ratio": (0.6 / 0.65, 200, 1, 400),
        "true_positive_rate": (30 / 50, 50, 60 / 80, 80),
        "true_positive_rate_gap": (0.6 - 0.75, 50, 0, 80),
        "false_positive_rate": (50 / 150, 150, 80 / 320, 320),
        "false_positive_rate_gap": (1 / 3 - 0.25, 150, 0, 320),
        "observed_to_expected": (50 / 40, 200, 80 / 80, 400),
    }
    assert list(expected) == list(MEASURES)
    for measure, (men, of_men, women, of_women) in expected.items():
        for label, value, clients_ in (("male", men, of_men), ("female", women, of_women)):
            row = figure(table, label, measure)
            assert row["value"] == pytest.approx(value)
            assert row["clients"] == clients_
            assert row["reference_group"] == "female"


def test_the_intervals_are_those_of_the_sources():
    table = fairness_table(by_sex((30, 20, 50, 100), (60, 20, 80, 240)))
    for measure, interval in {
        "selection_rate": wilson_interval(120, 200),
        "selection_rate_ratio": ratio_interval(120, 200, 260, 400),
        "true_positive_rate": wilson_interval(30, 50),
        "true_positive_rate_gap": newcombe_interval(30, 50, 60, 80),
        "false_positive_rate": wilson_interval(50, 150),
        "false_positive_rate_gap": newcombe_interval(50, 150, 80, 320),
    }.items():
        row = figure(table, "male", measure)
        assert limits(row) == (interval.value, interval.low, interval.high)
        assert row["reason"] is None
    row = figure(table, "male", "observed_to_expected")
    posterior = beta(50.5, 150.5)
    assert limits(row) == pytest.approx((1.25, posterior.ppf(0.025) / 0.2, posterior.ppf(0.975) / 0.2))


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.tuples(*[st.integers(0, 12)] * 4)] * 2))
def test_any_two_groups_against_a_count_by_hand(sizes):
    men, women = sizes
    table = fairness_table(by_sex(men, women), min_clients=1)
    for label, (hits, missed, alarms, quiet) in (("male", men), ("female", women)):
        n = hits + missed + alarms + quiet
        if not n:
            continue
        assert figure(table, label, "selection_rate")["value"] == pytest.approx((missed + quiet) / n)
        for measure, part, whole in (
            ("true_positive_rate", hits, hits + missed),
            ("false_positive_rate", alarms, alarms + quiet),
        ):
            row = figure(table, label, measure)
            assert row["clients"] == whole
            assert row["value"] == (part / whole if whole else None)
            assert (row["reason"] is None) == bool(whole)
        row = figure(table, label, "observed_to_expected")
        assert row["value"] == pytest.approx((hits + missed) / (0.2 * n))


def test_reference_rows_hold_one_or_zero_and_no_interval(portfolio):
    table = fairness_table(portfolio)
    own = table.filter(
        (pl.col("group_label") == pl.col("reference_group"))
        & (pl.col("measure").str.ends_with("_ratio") | pl.col("measure").str.ends_with("_gap"))
    )
    assert own.height == 3 * len(ATTRIBUTES)
    assert own["reason"].unique().to_list() == [REFERENCE]
    assert own["low"].null_count() == own["high"].null_count() == own.height
    expected = [1.0 if measure == "selection_rate_ratio" else 0.0 for measure in own["measure"]]
    assert own["value"].to_list() == expected


def test_the_reference_is_the_largest_group_and_of_equal_ones_the_first():
    small, large = (10, 40, 20, 80), (20, 80, 40, 160)
    for sizes, reference in (((small, large), "female"), ((large, small), "male"), ((large, large), "male")):
        table = fairness_table(by_sex(*sizes))
        assert table.filter(pl.col("attribute") == "sex")["reference_group"].unique().to_list() == [reference]


def test_groups_treated_alike_have_a_ratio_of_one_and_gaps_of_zero():
    table = fairness_table(by_sex((10, 40, 20, 80), (20, 80, 40, 160)))
    for measure, same in (
        ("selection_rate_ratio", 1.0),
        ("true_positive_rate_gap", 0.0),
        ("false_positive_rate_gap", 0.0),
    ):
        value, low, high = limits(figure(table, "male", measure))
        assert low < value < high
        assert value == pytest.approx(same)


def test_the_four_fifths_line():
    """Rates of 60, 45, 48 and 51 % give ratios of 75, 80 and 85 %, as EEOC's questions and answers on the
    guidelines of 29 CFR 1607 have it (1979)."""
    rates = (60, 45, 48, 51)
    frame = pl.concat(
        by_sex((0, 0, 100 - rate, rate)).with_columns(marriage=pl.lit(code % 4))
        for code, rate in enumerate(rates, start=1)
    )
    table = fairness_table(frame).filter(pl.col("measure") == "selection_rate_ratio")
    ratios = table.filter(pl.col("attribute") == "marriage")["value"].to_list()
    assert ratios == pytest.approx([1, 0.75, 0.80, 0.85])
    assert FOUR_FIFTHS == 4 / 5
    assert "orientation" in FOUR_FIFTHS_NOTE


def test_the_table_has_every_attribute_group_and_measure_in_order(portfolio):
    table = fairness_table(portfolio)
    assert table.schema == pl.Schema(FAIRNESS_SCHEMA)
    assert table["attribute"].unique(maintain_order=True).to_list() == ATTRIBUTES
    for _, group in table.group_by("attribute", "group_label", maintain_order=True):
        assert group["measure"].to_list() == list(MEASURES)
    for attribute in ATTRIBUTES:
        part = table.filter(pl.col("attribute") == attribute)
        assert part["position"].is_sorted()
        selected = part.filter(pl.col("measure") == "selection_rate")
        assert selected["clients"].sum() == portfolio.height


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_the_rows_changes_no_digit(portfolio, seed):
    shuffled = portfolio.sample(fraction=1.0, shuffle=True, seed=seed)
    assert_frame_equal(fairness_table(shuffled), fairness_table(portfolio), check_exact=True)


# --- what cannot be computed -------------------------------------------------------------------------


def test_before_outcomes_only_selection_is_measured(portfolio):
    table = fairness_table(portfolio.with_columns(defaulted=pl.lit(None, dtype=pl.Int8)))
    selection = pl.col("measure").str.starts_with("selection")
    assert_frame_equal(table.filter(selection), fairness_table(portfolio).filter(selection), check_exact=True)
    assert table.filter(~selection)["reason"].unique().to_list() == [NOT_RECEIVED]
    assert table.filter(~selection)["value"].null_count() == table.filter(~selection).height


def test_without_a_cut_off_only_calibration_is_measured(portfolio):
    table = fairness_table(portfolio.with_columns(flagged=pl.lit(None)))
    calibration = pl.col("measure") == "observed_to_expected"
    assert_frame_equal(
        table.filter(calibration), fairness_table(portfolio).filter(calibration), check_exact=True
    )
    assert table.filter(~calibration)["reason"].unique().to_list() == [NO_CUT_OFF]


WHOLE = (60, 20, 80, 240)


@pytest.mark.parametrize(
    ("men", "women", "measure", "value", "reason"),
    [
        ((9, 20, 30, 40), WHOLE, "selection_rate", None, "fewer than 100 clients: 99"),
        ((9, 20, 30, 40), WHOLE, "selection_rate_ratio", None, "fewer than 100 clients: 99"),
        ((9, 20, 30, 40), WHOLE, "true_positive_rate", None, "fewer than 100 known outcomes: 99"),
        ((9, 20, 30, 40), WHOLE, "false_positive_rate_gap", None, "fewer than 100 known outcomes: 99"),
        ((9, 20, 30, 40), WHOLE, "observed_to_expected", None, "fewer than 100 known outcomes: 99"),
        ((0, 0, 50, 150), WHOLE, "true_positive_rate", None, "no defaulters among 200 clients"),
        ((0, 0, 50, 150), WHOLE, "true_positive_rate_gap", None, "no defaulters among 200 clients"),
        ((50, 150, 0, 0), WHOLE, "false_positive_rate", None, "no non-defaulters among 200 clients"),
        (
            (50, 50, 50, 50),
            (0, 0, 200, 200),
            "true_positive_rate_gap",
            None,
            "reference group: no defaulters among 400 clients",
        ),
        (
            (50, 50, 50, 50),
            (200, 200, 0, 0),
            "false_positive_rate_gap",
            None,
            "reference group: no non-defaulters among 400 clients",
        ),
        ((50, 0, 150, 0), WHOLE, "selection_rate", 0.0, None),
        ((50, 0, 150, 0), WHOLE, "selection_rate_ratio", 0.0, "no interval: the rate is 0"),
        (
            (50, 50, 50, 50),
            (200, 0, 200, 0),
            "selection_rate_ratio",
            None,
            "the reference group's rate is 0",
        ),
        ((0, 50, 0, 150), (0, 100, 0, 300), "selection_rate_ratio", 1.0, "no interval: both rates are 1"),
        ((0, 0, 50, 150), WHOLE, "observed_to_expected", 0.0, None),
        ((50, 150, 0, 0), WHOLE, "observed_to_expected", 5.0, None),
    ],
)
def test_what_cannot_be_computed_says_why(men, women, measure, value, reason):
    row = figure(fairness_table(by_sex(men, women)), "male", measure)
    assert row["value"] == (None if value is None else pytest.approx(value))
    assert row["reason"] == reason
    assert (row["low"] is None) == (row["high"] is None) == (reason is not None)


def test_a_reference_whose_rate_is_zero_is_no_measure_for_itself():
    table = fairness_table(by_sex((50, 50, 50, 50), (200, 0, 200, 0)))
    assert figure(table, "female", "selection_rate_ratio")["value"] is None


@pytest.mark.parametrize("pd", [0.0, 5e-324])
def test_no_default_is_expected_of_pds_next_to_zero(pd):
    frame = by_sex((10, 40, 20, 80), WHOLE).with_columns(pd=pl.lit(pd))
    row = figure(fairness_table(frame), "male", "observed_to_expected")
    assert limits(row) == (None, None, None)
    assert row["reason"].startswith("no default is expected")


HARD = {
    "no defaults": {"defaulted": pl.lit(0)},
    "all default": {"defaulted": pl.lit(1)},
    "constant PD": {"pd": pl.lit(0.3)},
    "every PD 0": {"pd": pl.lit(0)},
    "every PD 1": {"pd": pl.lit(1.0)},
    "everybody flagged": {"flagged": pl.lit(True)},
    "nobody flagged": {"flagged": pl.lit(False)},
    "no outcome, no cut-off": {"defaulted": pl.lit(None), "flagged": pl.lit(None)},
    "half of the outcomes": {"defaulted": pl.when(pl.col("flagged")).then("defaulted")},
    "one group only": {"sex": pl.lit(1), "marriage": pl.lit(1), "age": pl.lit(30)},
    "no attribute": {name: pl.lit(None) for name in ("sex", "marriage", "age")},
}


@pytest.mark.parametrize("rows", [1, 2, 10, 1_500])
@pytest.mark.parametrize("min_clients", [1, 100])
@pytest.mark.parametrize("hard", HARD.values(), ids=HARD)
def test_hard_months_have_figures_or_reasons(portfolio, hard, rows, min_clients):
    table = fairness_table(portfolio.head(rows).with_columns(**hard), min_clients)
    assert table.height % len(MEASURES) == 0
    assert table["attribute"].unique(maintain_order=True).to_list() == ATTRIBUTES
    for row in table.iter_rows(named=True):
        numbers = limits(row)
        assert (row["reason"] is None) == (None not in numbers)
        assert all(number is None or math.isfinite(number) for number in numbers)
        if row["reason"] is None:
            assert row["low"] <= row["value"] + 1e-12
            assert row["value"] <= row["high"] + 1e-12


def test_a_month_without_clients_is_an_empty_table(portfolio):
    table = fairness_table(portfolio.clear())
    assert table.is_empty()
    assert table.schema == pl.Schema(FAIRNESS_SCHEMA)


def test_measures_of_outcomes_are_over_the_clients_whose_outcome_is_known(portfolio):
    unknown = portfolio.with_row_index().with_columns(
        pl.when(pl.col("index") % 3 > 0).then("defaulted").alias("defaulted")
    )
    # Not the gaps: their reference is the group with the most clients, known or not.
    rates = pl.col("measure").is_in(["true_positive_rate", "false_positive_rate", "observed_to_expected"])
    figures = pl.exclude("reference_group")
    assert_frame_equal(
        fairness_table(unknown).filter(rates).select(figures),
        fairness_table(unknown.drop_nulls("defaulted")).filter(rates).select(figures),
        check_exact=True,
    )


@pytest.mark.parametrize("column", ["pd", "flagged", "defaulted", "sex", "age", "marriage"])
def test_a_missing_column_is_named(portfolio, column):
    with pytest.raises(ValueError, match=column):
        fairness_table(portfolio.drop(column))


def test_attributes_that_only_segments_look_at_are_not_asked_for(portfolio):
    needed = portfolio.select("pd", "flagged", "defaulted", "sex", "age", "marriage")
    assert_frame_equal(fairness_table(needed), fairness_table(portfolio))


def test_one_division_of_clients_in_parts_gives_both_tables(portfolio):
    cuts = (50_000.0, 200_000.0)
    parts = (portfolio.slice(start, 700) for start in range(0, portfolio.height, 700))
    segments, fairness = both_tables(parts, cuts)
    assert_frame_equal(segments, segment_table(portfolio, cuts), check_exact=True)
    assert_frame_equal(fairness, fairness_table(portfolio), check_exact=True)


def test_no_part_is_two_empty_tables(portfolio):
    segments, fairness = both_tables(iter(()), ())
    assert segments.is_empty()
    assert fairness.is_empty()
    assert segments.schema == segment_table(portfolio.clear(), ()).schema
