import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditflow.columns import ATTRIBUTE_NAMES, ATTRIBUTES, CLIENT_ID
from creditflow.errors import ContentRefused, HeaderRefused
from models.features import CATEGORICAL_INDICES, design_matrix


def counting_frame(rows: int = 3) -> pl.DataFrame:
    """Every cell different: row r, attribute j holds 100 r + j."""
    columns = {a.name: [100 * r + j for r in range(rows)] for j, a in enumerate(ATTRIBUTES)}
    return pl.DataFrame(columns).cast({a.name: a.dtype for a in ATTRIBUTES})


def test_columns_stand_in_the_order_of_the_original_sheet_whatever_the_frame_s():
    frame = (
        counting_frame()
        .select(sorted(ATTRIBUTE_NAMES, reverse=True))
        .with_columns(pl.lit("x").alias(CLIENT_ID))
    )
    matrix = design_matrix(frame)
    assert matrix.shape == (3, 23)
    assert matrix.dtype == np.float64
    assert matrix[2].tolist() == [200.0 + j for j in range(23)]


def test_categorical_indices_point_at_the_codes():
    assert [ATTRIBUTE_NAMES[i] for i in CATEGORICAL_INDICES] == [
        "sex", "education", "marriage", "pay_1", "pay_2", "pay_3", "pay_4", "pay_5", "pay_6",
    ]  # fmt: skip


def test_no_rows_give_no_rows():
    assert design_matrix(counting_frame(0)).shape == (0, 23)


def test_missing_columns_are_named():
    with pytest.raises(HeaderRefused, match=r"no column pay_6, bill_amt1"):
        design_matrix(counting_frame().drop("pay_6", "bill_amt1"))


def test_a_column_of_text_is_named():
    with pytest.raises(HeaderRefused, match="age is String"):
        design_matrix(counting_frame().cast({"age": pl.String}))


@pytest.mark.parametrize(
    ("value", "word"),
    [(None, "null"), (float("nan"), "nan"), (float("inf"), "inf"), (float("-inf"), "-inf")],
)
def test_a_gap_is_refused_with_row_and_column(value, word):
    cells = pl.Series("bill_amt3", [1.0, value, 2.0], dtype=pl.Float64)
    with pytest.raises(ContentRefused, match=rf"row 2, column bill_amt3: .* found {word}\."):
        design_matrix(counting_frame().with_columns(cells))


def test_a_null_code_is_refused_and_further_gaps_are_counted():
    cells = pl.Series("pay_1", [0, None, None], dtype=pl.Int16)
    with pytest.raises(ContentRefused, match=r"row 2, column pay_1: .* found null and 1 more"):
        design_matrix(counting_frame().with_columns(cells))


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=20))
def test_amounts_keep_every_bit(amounts):
    frame = counting_frame(len(amounts)).with_columns(pl.Series("limit_bal", amounts, dtype=pl.Float64))
    assert design_matrix(frame)[:, 0].tolist() == amounts
