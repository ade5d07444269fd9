import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import ndtri

from creditflow.errors import TrainingRefused
from models.preprocessing import CLIP, CodeColumn, Encoding, LookUp, NumericColumn, binary_labels

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
    assert [column.knots[0], column.knots[-1]] == pytest.approx(
        [values.min(), values.max()], rel=0, abs=1e-290
    )


def test_amounts_too_small_for_a_slope_are_zero():
    # Between 0 and 2.2e-313 the slope is infinite, and so was the score of an amount between them.
    column = NumericColumn.fit_quantile(0, np.array([0.0, 2.2e-313, 5.0]), knots=400)
    assert column.knots.tolist() == [0.0, 5.0]
    assert np.isfinite(column(np.array([1e-313, 5e-324, -1e-313, 4.0]))).all()


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
@example([1e9, 999999999.9999999])
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


# ---- Many columns at once --------------------------------------------------------------------------


def one_by_one(columns, values):
    return np.stack([column(row) for column, row in zip(columns, values, strict=True)])


@given(st.lists(amounts, min_size=1, max_size=6), st.integers(2, 40), st.integers(0, 2**32 - 1))
@example([[0.0, 2.2250738585e-313]], 2, 0)
@example([[1e-290, 1.0000000000000002e-290]], 2, 0)
def test_looking_up_together_is_looking_up_one_by_one_to_the_last_digit(training, knots, seed):
    fitted = [NumericColumn.fit_quantile(j, np.array(x), knots) for j, x in enumerate(training)]
    look_up = LookUp(fitted)
    rng = np.random.default_rng(seed)
    values = np.stack(
        [
            # Knots themselves, their neighbours in float64, and numbers between and beyond them.
            rng.choice(
                np.concatenate([np.nextafter(k, -np.inf), k, np.nextafter(k, np.inf), k * 1.01, [-2e9]]), 50
            )
            for k in (column.knots for column in look_up.columns)
        ]
    )
    expected = one_by_one(look_up.columns, values)
    assert np.array_equal(look_up(values.copy()), expected)


@pytest.mark.parametrize("knots", [2, 3, 4, 5, 255, 256, 257, 400])
def test_every_number_of_knots_is_searched_to_the_end(knots):
    rng = np.random.default_rng(knots)
    wide, narrow = rng.normal(size=(2, 5_000))
    columns = [
        NumericColumn.fit_quantile(0, wide, knots),
        NumericColumn.fit_quantile(1, np.round(narrow), 400),
    ]
    look_up = LookUp(columns)
    values = rng.normal(size=(2, 3_000)) * 2
    expected = one_by_one(look_up.columns, values)
    assert np.array_equal(look_up(values.copy()), expected)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("rows", [1, 2_048, 5_000])
def test_amounts_are_the_columns_own_numbers_whatever_the_layout(order, rows):
    rng = np.random.default_rng(0)
    X = np.exp(rng.normal(size=(rows, 5)))
    X[:, 1] = rng.integers(0, 4, rows)
    X[:, 3] = 7.0
    encoding = Encoding.fit(X, [1], "quantile", 50)
    expected = np.stack([c(X[:, c.index]) for c in encoding.numeric], axis=1).astype(np.float32)
    assert np.array_equal(encoding.amounts(np.asarray(X, order=order)), expected)


def test_mean_input_and_sums_by_column_by_hand():
    X = np.array([[1.0, 10.0, 5.0], [2.0, 20.0, 6.0], [1.0, 40.0, 5.0], [1.0, 40.0, 5.0]])
    encoding = Encoding.fit(X, [0, 2], "quantile", 400)
    assert encoding.mean_input(X) == pytest.approx([encoding.amounts(X).mean(), 3 / 4, 1 / 4, 3 / 4, 1 / 4])
    encoded = np.array([[1.0, 2.0, 4.0, 8.0, 16.0]])  # the amount, two categories, two categories
    assert encoding.by_column(encoded).tolist() == [[6.0, 1.0, 24.0]]


# ---- Labels ----------------------------------------------------------------------------------------


def test_labels_become_zero_and_one_in_their_order():
    classes, label = binary_labels(np.array(["pays", "defaults", "pays"]), "model")
    assert (classes.tolist(), label.tolist()) == (["defaults", "pays"], [1, 0, 1])


def test_one_class_is_refused_and_named():
    with pytest.raises(TrainingRefused, match=r"training of model: .* every label is 1"):
        binary_labels(np.array([1, 1]), "model")
