import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy.special import expit
from scipy.stats import beta
from sklearn.metrics import roc_auc_score

from models.metrics import equal_count_bins
from models.segments import (
    NOT_RECEIVED,
    PROTECTED,
    SEGMENT_SCHEMA,
    SEGMENTS,
    Dimension,
    groups,
    segment_table,
)
from models.stability import ReferenceBins, counts

CUTS = (50_000.0, 100_000.0, 150_000.0, 250_000.0)
DIMENSIONS = {dimension.name: dimension for dimension in (*SEGMENTS, *PROTECTED)}
INTERVALS = ("rate_low", "rate_high", "jeffreys_p", "auc", "auc_low", "auc_high")


@pytest.fixture(scope="module")
def portfolio(clients: pl.DataFrame) -> pl.DataFrame:
    """Clients with a PD that rises with the payment status, and who is flagged at one in six."""
    jitter = np.random.default_rng(5).normal(size=clients.height)
    pd = expit(-1.4 + 0.9 * clients["pay_1"].to_numpy() + 0.3 * jitter)
    return clients.with_columns(pl.Series("pd", pd), pl.Series("flagged", pd >= 1 / 6))


def labels(dimension: Dimension, **columns: list) -> list[str]:
    frame = pl.DataFrame(columns, strict=False)
    return frame.select(label=dimension.grouping(CUTS).label)["label"].to_list()


def of(table: pl.DataFrame, dimension: str) -> pl.DataFrame:
    return table.filter(pl.col("dimension") == dimension)


# --- dimensions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dimension", "columns", "expected"),
    [
        (
            "limit_band",
            {"limit_bal": [1, 50_000, 50_000.01, 150_000, 250_000, 250_001, None, float("nan")]},
            ["≤ 50,000"] * 2
            + ["50,000 – 100,000", "100,000 – 150,000", "150,000 – 250,000", "> 250,000"]
            + ["not stated"] * 2,
        ),
        (
            "education",
            {"education": [1, 2, 3, 4, 0, 5, 6, -3, None]},
            ["graduate school", "university", "high school", "others"] + ["other codes"] * 4 + ["not stated"],
        ),
        (
            "utilisation",
            {
                "limit_bal": [10_000] * 12 + [0, -5, 10_000, float("nan")],
                "bill_amt1": [-9, 0, 1, 1e3, 1001, 3e3, 5e3, 7500, 7501, 1e4, 10_001, 9e4, 5, 5, None, 5],
            },
            ["no balance or in credit"] * 2
            + ["up to 10 %"] * 2
            + ["10 – 30 %"] * 2
            + ["30 – 50 %", "50 – 75 %"]
            + ["75 – 100 %"] * 2
            + ["above the limit"] * 2
            + ["not stated"] * 4,
        ),
        (
            "delinquency",
            {"pay_1": [-2, -1, 0, 1, 2, 3, 9, 10, -3, None]},
            ["no consumption", "paid in full", "revolving credit", "1 month late", "2 months late"]
            + ["3 months late or more"] * 2
            + ["other codes"] * 2
            + ["not stated"],
        ),
        ("sex", {"sex": [1, 2, 0, None]}, ["male", "female", "other codes", "not stated"]),
        (
            "age_band",
            {"age": [18, 24, 25, 34, 35, 44, 45, 54, 55, 64, 65, 101, None]},
            ["under 25"] * 2
            + ["25 – 34"] * 2
            + ["35 – 44"] * 2
            + ["45 – 54"] * 2
            + ["55 – 64"] * 2
            + ["65 and over"] * 2
            + ["not stated"],
        ),
        (
            "marriage",
            {"marriage": [1, 2, 3, 0, None]},
            ["married", "single", "others", "other codes", "not stated"],
        ),
    ],
)
def test_what_each_group_holds(dimension, columns, expected):
    assert labels(DIMENSIONS[dimension], **columns) == expected


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_labels_sort_in_the_order_of_the_groups(dimension, portfolio):
    grouping = DIMENSIONS[dimension].grouping(CUTS)
    found = portfolio.select(grouping.label.alias("label"), grouping.position.alias("position"))
    assert found.sort("label")["position"].is_sorted()
    assert len(set(grouping.labels)) == len(grouping.labels)


@settings(max_examples=50)
@given(
    cuts=st.lists(st.integers(1, 60), min_size=1, max_size=6, unique=True).map(sorted),
    limits=st.lists(st.integers(1, 70), min_size=1, max_size=40),
)
def test_limit_bands_are_the_bins_of_the_reference(cuts, limits):
    bins = ReferenceBins("amount", tuple(map(float, cuts)), (0,) * (len(cuts) + 1))
    grouping = DIMENSIONS["limit_band"].grouping(cuts)
    places = pl.DataFrame({"limit_bal": limits}).select(grouping.position.alias("place"))["place"].to_numpy()
    assert grouping.labels[:-1] == bins.labels
    np.testing.assert_array_equal(
        np.bincount(places, minlength=len(cuts) + 1), counts(bins, np.array(limits))
    )


@pytest.mark.parametrize("kind", [list, np.array, pl.Series])
def test_cuts_may_be_any_sequence(portfolio, kind):
    assert_frame_equal(segment_table(portfolio, kind(CUTS)), segment_table(portfolio, CUTS))


def test_without_a_cut_there_is_one_limit_band(portfolio):
    table = of(segment_table(portfolio, ()), "limit_band")
    assert table["group_label"].to_list() == ["every limit"]
    assert table["clients"].to_list() == [portfolio.height]


# --- figures -----------------------------------------------------------------------------------------


def test_every_figure_of_every_group_against_its_definition(portfolio):
    table = segment_table(portfolio, CUTS)
    assert table.schema == pl.Schema(SEGMENT_SCHEMA)
    for row in table.iter_rows(named=True):
        label = DIMENSIONS[row["dimension"]].grouping(CUTS).label
        members = portfolio.filter(label == row["group_label"])
        y, pd = members["defaulted"].to_numpy(), members["pd"].to_numpy()
        defaulters, n = int(y.sum()), y.size
        posterior = beta(defaulters + 0.5, n - defaulters + 0.5)
        assert (row["clients"], row["known"], row["defaulters"]) == (n, n, defaulters)
        assert row["flagged"] == members["flagged"].sum()
        assert row["mean_pd"] == pytest.approx(pd.mean(), rel=1e-12)
        assert row["expected"] == pytest.approx(pd.sum(), rel=1e-12)
        assert row["default_rate"] == defaulters / n
        if 0 < defaulters < n:  # at the ends the interval has its end corrections
            assert row["rate_low"] == pytest.approx(posterior.ppf(0.025), rel=1e-8)
            assert row["rate_high"] == pytest.approx(posterior.ppf(0.975), rel=1e-8)
        assert row["jeffreys_p"] == pytest.approx(posterior.cdf(pd.mean()), rel=1e-8)
        if n >= 100 and min(defaulters, n - defaulters) >= 20:
            assert row["reason"] is None
            assert row["auc"] == pytest.approx(roc_auc_score(y, pd), rel=1e-12)
            assert row["auc_low"] < row["auc"] < row["auc_high"]
        else:
            assert row["auc"] is row["auc_low"] is row["auc_high"] is None
            assert row["reason"].startswith("fewer than")


def test_the_table_covers_every_dimension_in_order_and_every_client_once(portfolio):
    table = segment_table(portfolio, CUTS)
    assert table["dimension"].unique(maintain_order=True).to_list() == list(DIMENSIONS)
    for name, dimension in DIMENSIONS.items():
        part = of(table, name)
        assert part["clients"].sum() == portfolio.height
        assert part["position"].is_sorted()
        assert part["position"].is_unique().all()
        assert part["kind"].unique().to_list() == [dimension.kind]
    assert [d.kind for d in SEGMENTS] == ["segment"] * 4
    assert [d.kind for d in PROTECTED] == ["protected"] * 3


def test_groups_without_clients_are_left_out_and_the_others_keep_their_place(portfolio):
    table = of(segment_table(portfolio.filter(pl.col("age") >= 55), CUTS), "age_band")
    assert table.select("position", "group_label").rows() == [(4, "55 – 64"), (5, "65 and over")]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), threads=st.booleans())
def test_the_order_of_the_rows_changes_no_digit(portfolio, seed, threads):
    shuffled = portfolio.sample(fraction=1.0, shuffle=True, seed=seed)
    # Chunks stand for the parts that threads would work on.
    shuffled = pl.concat([shuffled[:400], shuffled[400:]], rechunk=False) if threads else shuffled
    assert_frame_equal(segment_table(shuffled, CUTS), segment_table(portfolio, CUTS), check_exact=True)


def test_unknown_outcomes_count_as_clients_only(portfolio):
    half = portfolio.with_row_index().with_columns(
        pl.when(pl.col("index") % 2 == 0).then("defaulted").alias("defaulted")
    )
    known = half.drop_nulls("defaulted")
    table = segment_table(half, CUTS)
    of_known = segment_table(known, CUTS)
    figures = [
        "dimension",
        "position",
        "known",
        "defaulters",
        "expected",
        "default_rate",
        "auc",
        "jeffreys_p",
    ]
    assert_frame_equal(
        table.filter(pl.col("known") > 0).select(figures), of_known.select(figures), check_exact=True
    )
    assert_frame_equal(
        table.select("dimension", "clients", "mean_pd", "flagged"),
        segment_table(portfolio, CUTS).select("dimension", "clients", "mean_pd", "flagged"),
    )


def test_before_outcomes_the_counts_and_the_mean_pd_stand(portfolio):
    table = segment_table(portfolio.with_columns(defaulted=pl.lit(None)), CUTS)
    assert table["reason"].unique().to_list() == [NOT_RECEIVED]
    assert table["known"].unique().to_list() == table["defaulters"].unique().to_list() == [0]
    assert table.select("expected", "default_rate", *INTERVALS).null_count().row(0) == (table.height,) * 8
    assert_frame_equal(
        table.select("clients", "mean_pd", "flagged"),
        segment_table(portfolio, CUTS).select("clients", "mean_pd", "flagged"),
    )


def test_without_a_cut_off_nobody_is_counted_as_flagged(portfolio):
    table = segment_table(portfolio.with_columns(flagged=pl.lit(None)), CUTS)
    assert table["flagged"].null_count() == table.height
    assert_frame_equal(table.drop("flagged"), segment_table(portfolio, CUTS).drop("flagged"))


@pytest.mark.parametrize(
    ("clients_", "defaulters", "limits", "reason"),
    [
        (99, 30, {}, "fewer than 100 known outcomes: 99"),
        (1_200, 19, {}, "fewer than 20 defaulters: 19"),
        (1_200, 0, {}, "fewer than 20 defaulters: 0"),
        (1_200, 1_181, {}, "fewer than 20 non-defaulters: 19"),
        (1_200, 1_200, {}, "fewer than 20 non-defaulters: 0"),
        (1_200, 600, {"min_clients": 2_000}, "fewer than 2,000 known outcomes: 1,200"),
        (1_200, 600, {"min_defaulters": 601}, "fewer than 601 defaulters: 600"),
        (100, 20, {}, None),
        (100, 80, {}, None),
        (99, 30, {"min_clients": 99}, None),
    ],
)
def test_a_group_too_small_for_an_auc_says_why(portfolio, clients_, defaulters, limits, reason):
    frame = portfolio.head(clients_).with_columns(
        sex=pl.lit(2), defaulted=(pl.int_range(pl.len()) < defaulters).cast(pl.Int8)
    )
    row = of(segment_table(frame, CUTS, **limits), "sex").row(0, named=True)
    assert row["reason"] == reason
    assert (row["auc"] is None) == (reason is not None)
    assert row["default_rate"] == defaulters / clients_
    assert row["rate_low"] <= row["default_rate"] <= row["rate_high"]


def test_a_pd_that_ranks_perfectly_keeps_its_auc_and_says_that_it_has_no_interval(portfolio):
    frame = portfolio.with_columns(sex=pl.lit(1), pd=pl.col("defaulted") * 0.5 + 0.25)
    row = of(segment_table(frame, CUTS), "sex").row(0, named=True)
    assert (row["auc"], row["auc_low"], row["auc_high"]) == (1.0, None, None)
    assert row["reason"]


@settings(max_examples=40, deadline=None)
@given(data=st.data(), rows=st.integers(0, 40))
def test_small_frames_against_a_count_by_hand(data, rows):
    draw = lambda values: data.draw(st.lists(values, min_size=rows, max_size=rows))  # noqa: E731
    frame = pl.DataFrame(
        {
            "pd": draw(st.floats(0, 1)),
            "flagged": draw(st.sampled_from([True, False, None])),
            "defaulted": draw(st.sampled_from([0, 1, None])),
            "limit_bal": draw(st.sampled_from([1e4, 1e5, 3e5])),
            "sex": draw(st.sampled_from([1, 2, 3])),
            "education": draw(st.integers(0, 6)),
            "marriage": draw(st.integers(0, 3)),
            "age": draw(st.integers(18, 90)),
            "pay_1": draw(st.integers(-2, 9)),
            "bill_amt1": draw(st.floats(-1e5, 1e6)),
        },
        schema_overrides={"pd": pl.Float64, "flagged": pl.Boolean, "defaulted": pl.Int8, "sex": pl.Int16},
    )
    table = of(segment_table(frame, CUTS, min_clients=4, min_defaulters=2), "sex")
    for position, code in enumerate([1, 2, 3]):
        members = [row for row in frame.iter_rows(named=True) if row["sex"] == code]
        found = table.filter(pl.col("position") == position).rows(named=True)
        assert len(found) == bool(members)
        if members:
            known = [row for row in members if row["defaulted"] is not None]
            flags = [row["flagged"] for row in members if row["flagged"] is not None]
            assert found[0]["clients"] == len(members)
            assert found[0]["known"] == len(known)
            assert found[0]["defaulters"] == sum(row["defaulted"] for row in known)
            assert found[0]["flagged"] == (sum(flags) if flags else None)
            assert found[0]["mean_pd"] == pytest.approx(sum(row["pd"] for row in members) / len(members))


# --- bad input ---------------------------------------------------------------------------------------

HARD = {
    "no defaults": {"defaulted": pl.lit(0)},
    "all default": {"defaulted": pl.lit(1)},
    "constant PD": {"pd": pl.lit(0.3)},
    "every PD 0": {"pd": pl.lit(0)},
    "every PD 1": {"pd": pl.lit(1.0)},
    "PDs of 0 and 1 only": {"pd": (pl.col("pd") > 0.5).cast(pl.Float64)},
    "outcomes as booleans": {"defaulted": pl.col("defaulted") == 1},
    "no outcome, no cut-off": {"defaulted": pl.lit(None), "flagged": pl.lit(None)},
    "one group only": {
        "sex": pl.lit(1),
        "education": pl.lit(2),
        "marriage": pl.lit(1),
        "age": pl.lit(30),
        "pay_1": pl.lit(0),
        "limit_bal": pl.lit(5e4),
        "bill_amt1": pl.lit(0.0),
    },
    "no attribute": {
        name: pl.lit(None)
        for name in ("sex", "education", "marriage", "age", "pay_1", "limit_bal", "bill_amt1")
    },
}


@pytest.mark.parametrize("rows", [1, 2, 10, 1_500])
@pytest.mark.parametrize("hard", HARD.values(), ids=HARD)
def test_hard_months_have_figures_or_reasons(portfolio, hard, rows):
    table = segment_table(portfolio.head(rows).with_columns(**hard), CUTS)
    numbers = table.select(pl.selectors.float())
    assert numbers.select(pl.all().is_nan().any() | pl.all().is_infinite().any()).row(0) == (False,) * len(
        numbers.columns
    )
    missing = table.filter(pl.any_horizontal(pl.col(*INTERVALS).is_null()))
    assert missing["reason"].null_count() == 0
    for name in DIMENSIONS:
        assert of(table, name)["clients"].sum() == rows


def test_a_month_without_clients_is_an_empty_table(portfolio):
    table = segment_table(portfolio.clear(), CUTS)
    assert table.is_empty()
    assert table.schema == pl.Schema(SEGMENT_SCHEMA)


def test_clients_without_an_attribute_form_a_group_of_their_own(portfolio):
    frame = portfolio.with_row_index().with_columns(pl.when(pl.col("index") > 9).then("age").alias("age"))
    last = of(segment_table(frame, CUTS), "age_band").row(-1, named=True)
    assert (last["group_label"], last["clients"]) == ("not stated", 10)


@pytest.mark.parametrize(
    ("change", "cuts", "message"),
    [
        ({"pd": pl.lit(1.01)}, CUTS, "a PD lies outside"),
        ({"pd": pl.lit(-0.01)}, CUTS, "a PD lies outside"),
        ({"pd": pl.lit(float("nan"))}, CUTS, "a PD lies outside"),
        ({"pd": pl.lit(None)}, CUTS, "a PD lies outside"),
        ({"defaulted": pl.lit(2)}, CUTS, "neither 0 nor 1"),
        ({"defaulted": pl.lit(0.5)}, CUTS, "neither 0 nor 1"),
        ({}, (2.0, 1.0), "ascend"),
        ({}, (1.0, 1.0), "ascend"),
        ({}, (1.0, float("inf")), "finite"),
        ({}, (float("nan"),), "finite"),
    ],
)
def test_input_that_is_refused(portfolio, change, cuts, message):
    with pytest.raises(ValueError, match=message):
        segment_table(portfolio.with_columns(**change), cuts)


@pytest.mark.parametrize("column", ["pd", "flagged", "defaulted", "limit_bal", "pay_1", "marriage"])
def test_a_missing_column_is_named(portfolio, column):
    with pytest.raises(ValueError, match=column):
        segment_table(portfolio.drop(column), CUTS)


def test_groups_take_further_dimensions(portfolio):
    """The same machinery divides by anything, here by tenths of the PD."""
    tenth = equal_count_bins(portfolio["pd"].to_numpy())
    frame = portfolio.with_columns(pl.Series("sex", tenth % 2 + 1))
    ((dimension, members),) = groups(frame, PROTECTED[:1])
    assert dimension is PROTECTED[0]
    assert [group.label for group in members] == ["male", "female"]
    assert sum(group.defaulters for group in members) == portfolio["defaulted"].sum()
    assert all(group.clients["pd"].is_sorted() for group in members)
