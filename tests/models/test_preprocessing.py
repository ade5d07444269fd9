import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from models.preprocessing import CLIP, CodeColumn, Encoding, NumericColumn

amounts = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60)


def test_mid_ranks_by_hand():
    # 0, 0, 5, 9: zero holds ranks 0 to 2 of 4 (middle 1/4), five 5/8, nine 7/8.
    column = NumericColumn.fit_quantile(0, np.array([0.0, 9.0, 0.0, 5.0]), knots=400)
    normal = ndtri(np.array([1 / 4, 1 / 4, 5 / 8, 7 / 8]))
    expected = (normal - normal.mean()) / normal.std()
    assert column(np.array([0.0, 0.0, 5.0, 9.0])) == pytest.approx(expected)
    assert column(np.array([7.0])) == pytest.approx(expected[2:].mean())
    assert column(np.array([-1e9, 1e9])) == pytest.approx(expected[[0, 3]])


@given(amounts, st.integers(2, 30))
def test_quantile_scaling_never_reorders_and_stays_in_bounds(values, knots):
    values = np.array(values)
    column = NumericColumn.fit_quantile(0, values, knots)
    scaled = column(np.sort(values))
    assert (np.diff(scaled) >= -1e-12).all()  # interpolation rounds in the last digit
    assert np.abs(scaled).max() <= CLIP
    assert len(column.knots) <= knots + 1
    assert {column.knots[0], column.knots[-1]} == {values.min(), values.max()}


def test_many_distinct_amounts_become_standard_normal():
    values = np.random.default_rng(0).lognormal(size=20_000)
    scaled = NumericColumn.fit_quantile(0, values, 400)(values)
    assert scaled.mean() == pytest.approx(0, abs=0.01)
    assert scaled.std() == pytest.approx(1, abs=0.01)


def test_large_amounts_that_float32_cannot_tell_apart_stay_apart():
    values = 1e9 + np.arange(8.0)
    scaled = NumericColumn.fit_quantile(0, values, 400)(values)
    assert len(np.unique(values.astype(np.float32))) < 8
    assert len(np.unique(scaled)) == 8


@pytest.mark.parametrize(
    "fit", [lambda x: NumericColumn.fit_quantile(0, x, 400), lambda x: NumericColumn.fit_standard(0, x)]
)
def test_a_constant_column_scales_to_zero(fit):
    column = fit(np.full(7, 0.1))
    assert column.constant
    assert column(np.array([0.1])) == pytest.approx([0.0])


def test_standard_scaling_by_hand():
    column = NumericColumn.fit_standard(0, np.array([1.0, 2.0, 3.0, 6.0]))  # mean 3, variance 3.5
    assert column(np.array([3.0, 10.0])) == pytest.approx([0.0, 7 / np.sqrt(3.5)])


@pytest.mark.parametrize(
    ("value", "category"),
    [(-2, 0), (0, 1), (3, 2), (-1, 0), (1, 1), (2, 2), (9, 2), (-9, 0), (1.5, 1), (1.6, 2)],
)
def test_a_code_is_read_as_the_nearest_category_met(value, category):
    column = CodeColumn.fit(0, np.array([3.0, 0.0, -2.0, 0.0]))
    assert column(np.array([value])).tolist() == [category]


@given(amounts)
def test_every_category_met_is_read_as_itself(values):
    column = CodeColumn.fit(0, np.array(values))
    assert np.array_equal(column.categories[column(np.array(values))], np.array(values))


def test_encoding_splits_amounts_from_codes_and_survives_its_state():
    X = np.array([[1.0, 10.0, 5.0], [2.0, 20.0, 5.0], [1.0, 40.0, 5.0]])
    encoding = Encoding.fit(X, [0, 2], "quantile", 400)
    assert encoding.sizes == (2, 1)
    assert encoding.order.tolist() == [1, 0, 2]
    assert encoding.constant.tolist() == [False, False, True]
    assert encoding.positions(X).tolist() == [[0, 0], [1, 0], [0, 0]]
    tensors, meta = encoding.get_state()
    again = Encoding.from_state(tensors, meta)
    assert np.array_equal(again.amounts(X), encoding.amounts(X))
    assert np.array_equal(again.positions(X), encoding.positions(X))
