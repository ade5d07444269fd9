from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creditflow.columns import ATTRIBUTE_NAMES, ATTRIBUTES, CLIENT_ID, STATEMENTS
from creditflow.errors import ContentRefused, HeaderRefused, UsageError
from models.features import (
    CATEGORICAL_INDICES,
    CODES,
    FEATURES,
    PROTECTED,
    RAW_AMOUNTS,
    FeatureSet,
    attribute_matrix,
)

POLICIES = ["unprotected", "all"]


def client(
    limit: float,
    bills: list[float],
    payments: list[float],
    statuses: list[int],
    sex: int = 1,
    education: int = 1,
    marriage: int = 1,
    age: int = 40,
) -> dict[str, float]:
    return {
        "limit_bal": limit,
        "sex": sex,
        "education": education,
        "marriage": marriage,
        "age": age,
        **{f"pay_{t}": statuses[t - 1] for t in STATEMENTS},
        **{f"bill_amt{t}": bills[t - 1] for t in STATEMENTS},
        **{f"pay_amt{t}": payments[t - 1] for t in STATEMENTS},
    }


def frame_of(*clients: dict[str, float]) -> pl.DataFrame:
    return pl.DataFrame(list(clients)).cast({a.name: a.dtype for a in ATTRIBUTES})


# ── Every definition, by hand ───────────────────────────────────────────────────────────────────

# Uses some of the limit, pays a part of each bill, has been late three times.
STEADY = client(
    limit=1000,
    bills=[500, 400, 300, 200, 100, 50],
    payments=[40, 60, 150, 20, 25, 10],
    statuses=[2, -1, 0, 1, 4, -2],
    sex=2,
    education=5,
    marriage=0,
)
# No limit, no bill, no payment: whatever divides must not be zero.
NOTHING = client(limit=0, bills=[0] * 6, payments=[0] * 6, statuses=[-2] * 6, education=2, marriage=2)
# In credit three times, a bill below 1, a payment of more than three times the bill.
IN_CREDIT = client(
    limit=200,
    bills=[-100, -50, 0, 0.5, 300, -20],
    payments=[500, 0, 0, 1000, 10, 5],
    statuses=[-1, -1, -2, 0, 2, 9],
    education=0,
    marriage=3,
)

# name: (STEADY, NOTHING, IN_CREDIT), worked out on paper from the amounts above.
BY_HAND: dict[str, tuple[float, float, float]] = {
    # bill over limit; a limit of 0 counts as 1
    "utilisation_1": (0.5, 0, -0.5),
    "utilisation_2": (0.4, 0, -0.25),
    "utilisation_3": (0.3, 0, 0),
    "utilisation_4": (0.2, 0, 0.0025),
    "utilisation_5": (0.1, 0, 1.5),
    "utilisation_6": (0.05, 0, -0.1),
    "utilisation_mean": (1.55 / 6, 0, 0.6525 / 6),
    "utilisation_max": (0.5, 0, 1.5),
    "utilisation_min": (0.05, 0, -0.5),
    # 1.2 / 3 − 0.35 / 3;  −0.75 / 3 − 1.4025 / 3
    "utilisation_trend": (0.85 / 3, 0, -0.7175),
    "utilisation_change": (0.1, 0, -0.25),
    "headroom": (500, 0, 300),
    # 40/400, 60/300, 150/200, 20/100, 25/50;
    # bills −50 and 0: 1, 0 of a bill of 0.5 that counts as 1: 0, 1000/300 held at 2, bill −20: 1
    "payment_ratio_1": (0.1, 1, 1),
    "payment_ratio_2": (0.2, 1, 1),
    "payment_ratio_3": (0.75, 1, 0),
    "payment_ratio_4": (0.2, 1, 2),
    "payment_ratio_5": (0.5, 1, 1),
    "payment_ratio_mean": (1.75 / 5, 1, 1),
    # 295 / 1050;  1510 / 300.5 held at 2
    "payment_ratio_total": (295 / 1050, 1, 2),
    "payment_over_limit_1": (0.04, 0, 2.5),
    "payment_over_limit_2": (0.06, 0, 0),
    "payment_over_limit_3": (0.15, 0, 0),
    "payment_over_limit_4": (0.02, 0, 5),
    "payment_over_limit_5": (0.025, 0, 0.05),
    "payment_over_limit_6": (0.01, 0, 0.025),
    "payment_over_limit_mean": (0.305 / 6, 0, 7.575 / 6),
    # (500 − 400 + 40) / 1000 …;  (−100 + 50 + 500) / 200 …
    "implied_spend_1": (0.14, 0, 2.25),
    "implied_spend_2": (0.16, 0, -0.25),
    "implied_spend_3": (0.25, 0, -0.0025),
    "implied_spend_4": (0.12, 0, 3.5025),
    "implied_spend_5": (0.075, 0, 1.65),
    "implied_spend_mean": (0.149, 0, 1.43),
    # delays: 2, 0, 0, 1, 4, 0;  none;  0, 0, 0, 0, 2, 9
    "months_delinquent": (3, 0, 2),
    "months_two_behind": (2, 0, 2),
    "delay_latest": (2, 0, 0),
    "delay_worst": (4, 0, 9),
    # 2 + 0.343 · 1 + 0.2401 · 4;  0.2401 · 2 + 0.16807 · 9
    "delay_weighted": (3.3034, 0, 1.99283),
    # 2/3 − 5/3;  0 − 11/3
    "delay_trend": (-1, 0, -11 / 3),
    "months_since_delay": (0, 6, 4),
    "count_no_consumption": (1, 6, 1),
    "count_paid_in_full": (1, 0, 2),
    "count_revolving": (1, 0, 1),
    "count_one_behind": (1, 0, 0),
    "count_two_behind": (1, 0, 1),
    "count_three_behind": (1, 0, 1),
    "bill_mean": (1550 / 6, 0, 21.75),
    "bill_max": (500, 0, 300),
    "bill_min": (50, 0, -100),
    # 400 − 350/3;  −50 − 93.5
    "bill_trend": (850 / 3, 0, -143.5),
    "bills_not_positive": (0, 6, 4),
    "payment_mean": (305 / 6, 0, 252.5),
    "payment_max": (150, 0, 1000),
    "payment_min": (10, 0, 0),
    # 250/3 − 55/3;  500/3 − 1015/3
    "payment_trend": (65, 0, -515 / 3),
    "payments_none": (0, 6, 2),
    # codes: rare ones merged, statuses held between −2 and 3
    "sex": (2, 1, 1),
    "education_group": (4, 2, 4),
    "marriage_group": (3, 2, 3),
    "status_1": (2, -2, -1),
    "status_2": (-1, -2, -1),
    "status_3": (0, -2, -2),
    "status_4": (1, -2, 0),
    "status_5": (3, -2, 2),
    "status_6": (-2, -2, 3),
}


def test_the_table_misses_no_definition():
    assert list(BY_HAND) == [feature.name for feature in (*FEATURES, *CODES)]
    assert len(FEATURES) == 55


@pytest.mark.parametrize("name", BY_HAND)
def test_a_definition_gives_what_paper_gives(name):
    features = FeatureSet("all")
    found = features.matrix(frame_of(STEADY, NOTHING, IN_CREDIT))[:, features.names.index(name)]
    np.testing.assert_allclose(found, BY_HAND[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("code", "group"), [(1, 1), (2, 2), (3, 3), (4, 4), (0, 4), (5, 4), (6, 4), (9, 4)])
def test_rare_educations_are_one_group(code, group):
    frame = frame_of(STEADY | {"education": code})
    assert FeatureSet().frame(frame)["education_group"].to_list() == [group]


@pytest.mark.parametrize(("code", "group"), [(1, 1), (2, 2), (3, 3), (0, 3)])
def test_rare_marriages_are_one_group(code, group):
    frame = frame_of(STEADY | {"marriage": code})
    assert FeatureSet("all").frame(frame)["marriage_group"].to_list() == [group]


@pytest.mark.parametrize(
    ("statuses", "months"),
    [
        ([0, 0, 0, 0, 0, 0], 6),
        ([-1, -1, -1, -1, -1, 1], 5),
        ([0, 3, 0, 0, 0, 1], 1),
        ([1, 1, 1, 1, 1, 1], 0),
    ],
)
def test_months_since_the_newest_delay(statuses, months):
    frame = frame_of(client(100, [0] * 6, [0] * 6, statuses))
    assert FeatureSet().frame(frame)["months_since_delay"].to_list() == [months]


def test_raw_amounts_are_kept_as_received():
    features = FeatureSet("all")
    row = features.matrix(frame_of(IN_CREDIT))[0]
    received = [200, 40, -100, -50, 0, 0.5, 300, -20, 500, 0, 0, 1000, 10, 5]
    assert row[list(features.amount_indices)].tolist() == received


# ── Feature sets ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("policy", "columns", "amounts", "codes"), [("unprotected", 75, 13, 7), ("all", 78, 14, 9)]
)
def test_columns_come_as_amounts_features_codes(policy, columns, amounts, codes):
    features = FeatureSet(policy)
    assert len(features.names) == len(set(features.names)) == columns
    assert features.amount_indices == tuple(range(amounts))
    assert features.code_indices == tuple(range(columns - codes, columns))
    matrix = features.matrix(frame_of(STEADY, NOTHING))
    assert matrix.shape == (2, columns)
    assert matrix.dtype == np.float64
    assert matrix.flags.f_contiguous


def test_the_policies_differ_by_the_protected_attributes_alone():
    unprotected, everything = FeatureSet("unprotected"), FeatureSet("all")
    assert FeatureSet() == unprotected
    assert set(everything.names) - set(unprotected.names) == {"age", "sex", "marriage_group"}
    assert unprotected.sources == tuple(name for name in ATTRIBUTE_NAMES if name not in PROTECTED)
    assert everything.sources == ATTRIBUTE_NAMES


def test_no_column_of_the_default_is_made_from_a_protected_attribute():
    for column in FeatureSet().columns:
        assert not set(column.expression.meta.root_names()) & {"sex", "marriage", "age"}, column.name


@pytest.mark.parametrize("name", ["sex", "marriage", "age"])
def test_the_default_does_not_see_a_protected_attribute_change(name):
    frame = frame_of(STEADY, NOTHING, IN_CREDIT)
    changed = frame.with_columns(pl.col(name) + 1)
    assert np.array_equal(FeatureSet().matrix(frame), FeatureSet().matrix(changed))
    assert np.array_equal(FeatureSet().matrix(frame), FeatureSet().matrix(frame.drop(name)))
    # Marriage 3 and 4 fall into one group, the others move.
    assert not np.array_equal(FeatureSet("all").matrix(frame), FeatureSet("all").matrix(changed))


def test_an_unknown_policy_is_refused():
    with pytest.raises(UsageError, match=r"one of unprotected, all, found 'none'\. Correct CREDITFLOW_ATTR"):
        FeatureSet("none")  # type: ignore[arg-type]


def test_every_column_says_what_it_is():
    for column in (*RAW_AMOUNTS, *FEATURES, *CODES):
        assert column.unit in {"ratio", "currency", "months", "code", "years"}
        assert column.definition
        assert "{" not in column.definition


# ── Any client ──────────────────────────────────────────────────────────────────────────────────

amounts = st.one_of(st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0]), st.floats(-1e300, 1e300))
six_amounts = st.lists(amounts, min_size=6, max_size=6)
any_client = st.builds(
    client,
    limit=amounts,
    bills=six_amounts,
    payments=six_amounts,
    statuses=st.lists(st.integers(-2, 9), min_size=6, max_size=6),
    sex=st.integers(1, 2),
    education=st.integers(0, 6),
    marriage=st.integers(0, 3),
    age=st.integers(18, 99),
)


@given(st.lists(any_client, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_finite_client_gives_finite_numbers_alone_as_among_others(clients):
    features, frame = FeatureSet("all"), frame_of(*clients)
    matrix = features.matrix(frame)
    assert np.isfinite(matrix).all()
    assert np.array_equal(features.matrix(frame.reverse()), matrix[::-1])
    for row in range(frame.height):
        assert features.matrix(frame[row]).tobytes() == matrix[row].tobytes()


def test_a_row_among_many_is_the_row_alone_to_the_last_bit():
    rng = np.random.default_rng(5)
    clients = [
        client(
            float(rng.integers(1, 10**6)),
            rng.normal(0, 1e5, 6).tolist(),
            rng.exponential(5e3, 6).tolist(),
            rng.integers(-2, 9, 6).tolist(),
        )
        for _ in range(1_003)
    ]
    frame = frame_of(*clients)
    matrix = FeatureSet().matrix(frame)
    for row in (0, 1, 500, 1_001, 1_002):
        assert FeatureSet().matrix(frame[row]).tobytes() == matrix[row].tobytes()


def test_whole_numbers_do_not_overflow():
    huge = client(30_000, [30_000] * 6, [30_000] * 6, [0] * 6)
    narrow = pl.DataFrame([huge]).cast(dict.fromkeys(ATTRIBUTE_NAMES, pl.Int16))
    assert np.array_equal(FeatureSet().matrix(narrow), FeatureSet().matrix(frame_of(huge)))


@pytest.mark.parametrize("policy", POLICIES)
def test_no_rows_give_no_features(policy):
    features = FeatureSet(policy)
    assert features.matrix(frame_of(STEADY).clear()).shape == (0, len(features.names))


# ── What is refused ─────────────────────────────────────────────────────────────────────────────

MATRICES = [attribute_matrix, FeatureSet("unprotected").matrix, FeatureSet("all").matrix]
Matrix = Callable[[pl.DataFrame], np.ndarray]


def counting_frame(rows: int = 3) -> pl.DataFrame:
    """Every cell different: row r, attribute j holds 100 r + j."""
    columns = {a.name: [100 * r + j for r in range(rows)] for j, a in enumerate(ATTRIBUTES)}
    return pl.DataFrame(columns).cast({a.name: a.dtype for a in ATTRIBUTES})


@pytest.mark.parametrize("matrix", MATRICES)
def test_missing_columns_are_named(matrix: Matrix):
    with pytest.raises(HeaderRefused, match=r"no column pay_6, bill_amt1"):
        matrix(counting_frame().drop("pay_6", "bill_amt1"))


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_column_of_text_is_named(matrix: Matrix):
    with pytest.raises(HeaderRefused, match="pay_2 is String"):
        matrix(counting_frame().cast({"pay_2": pl.String}))


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize(
    ("value", "word"),
    [(None, "null"), (float("nan"), "nan"), (float("inf"), "inf"), (float("-inf"), "-inf")],
)
def test_a_gap_is_refused_with_row_and_column(matrix: Matrix, value, word):
    cells = pl.Series("bill_amt3", [1.0, value, 2.0], dtype=pl.Float64)
    with pytest.raises(ContentRefused, match=rf"row 2, column bill_amt3: .* found {word}\."):
        matrix(counting_frame().with_columns(cells))


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_null_code_is_refused_and_further_gaps_are_counted(matrix: Matrix):
    cells = pl.Series("pay_1", [0, None, None], dtype=pl.Int16)
    with pytest.raises(ContentRefused, match=r"row 2, column pay_1: .* found null and 1 more"):
        matrix(counting_frame().with_columns(cells))


def test_a_gap_in_a_column_that_is_not_used_does_not_matter():
    frame = counting_frame().with_columns(pl.lit(None, dtype=pl.Int16).alias("age"))
    assert FeatureSet().matrix(frame).shape == (3, 75)
    with pytest.raises(ContentRefused, match="column age"):
        FeatureSet("all").matrix(frame)


# ── The study's attributes ──────────────────────────────────────────────────────────────────────


def test_columns_stand_in_the_order_of_the_original_sheet_whatever_the_frame_s():
    frame = (
        counting_frame()
        .select(sorted(ATTRIBUTE_NAMES, reverse=True))
        .with_columns(pl.lit("x").alias(CLIENT_ID))
    )
    matrix = attribute_matrix(frame)
    assert matrix.shape == (3, 23)
    assert matrix.dtype == np.float64
    assert matrix[2].tolist() == [200.0 + j for j in range(23)]


def test_categorical_indices_point_at_the_codes():
    assert [ATTRIBUTE_NAMES[i] for i in CATEGORICAL_INDICES] == [
        "sex", "education", "marriage", "pay_1", "pay_2", "pay_3", "pay_4", "pay_5", "pay_6",
    ]  # fmt: skip


def test_no_rows_give_no_rows():
    assert attribute_matrix(counting_frame(0)).shape == (0, 23)


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=20))
def test_amounts_keep_every_bit(values):
    frame = counting_frame(len(values)).with_columns(pl.Series("limit_bal", values, dtype=pl.Float64))
    assert attribute_matrix(frame)[:, 0].tolist() == values
