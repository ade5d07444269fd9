import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    classification_report,
    log_loss,
    roc_auc_score,
)

from models.metrics import (
    METRIC_NAMES,
    Metric,
    Ordered,
    ascending,
    classification_metrics,
    equal_count_bins,
    expected_calibration_error,
    threshold_metrics,
)

# scikit-learn's user guide, "Receiver operating characteristic" and "Precision, recall and F-measures":
# y_true = [0, 0, 1, 1], y_scores = [0.1, 0.4, 0.35, 0.8] has ROC AUC 0.75 and average precision 0.8333...
GUIDE = ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])


def value(y, pd, name):
    return classification_metrics(np.array(y), np.array(pd))[name].value


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("roc_auc", 0.75),
        ("gini", 0.5),
        ("average_precision", 5 / 6),
        # By hand: below 0.35 lies half of the good and none of the bad; nowhere is the distance larger.
        ("ks", 0.5),
        ("brier", (0.1**2 + 0.4**2 + 0.65**2 + 0.2**2) / 4),
        ("log_loss", -np.log([0.9, 0.6, 0.35, 0.8]).mean()),
        ("observed_rate", 0.5),
        ("mean_pd", 0.4125),
        # Four rows give four bins of one row each.
        ("ece", (0.1 + 0.4 + 0.65 + 0.2) / 4),
    ],
)
def test_published_example(name, expected):
    assert value(*GUIDE, name) == pytest.approx(expected, abs=1e-12)


def test_names_and_order():
    assert tuple(classification_metrics(*GUIDE)) == METRIC_NAMES


def test_ece_by_hand():
    # Two levels of PD, ten rows each: 0.1 with 2 defaulters (rate 0.2), 0.5 with 4 (rate 0.4).
    pd = np.repeat([0.1, 0.5], 10)
    y = np.r_[np.ones(2), np.zeros(8), np.ones(4), np.zeros(6)]
    assert expected_calibration_error(y, pd) == pytest.approx(0.5 * 0.1 + 0.5 * 0.1)


def test_ece_of_no_rows_is_refused():
    with pytest.raises(ValueError, match="no rows"):
        expected_calibration_error([], [])


coarse = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6)), min_size=2, max_size=80).filter(
    lambda rows: 0 < sum(y for y, _ in rows) < len(rows)
)


@given(coarse)
@settings(max_examples=150, deadline=None)
def test_auc_and_ks_agree_with_scikit_learn_and_scipy_under_many_ties(rows):
    y, pd = np.array([y for y, _ in rows]), np.array([p for _, p in rows]) / 6
    assert value(y, pd, "roc_auc") == pytest.approx(roc_auc_score(y, pd), abs=1e-12)
    assert value(y, pd, "ks") == pytest.approx(ks_2samp(pd[y == 1], pd[y == 0]).statistic, abs=1e-12)


@given(coarse, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_row_order_does_not_matter(rows, random):
    mixed = random.sample(rows, len(rows))
    first, second = (classification_metrics([y for y, _ in r], [p / 6 for _, p in r]) for r in (rows, mixed))
    for name in METRIC_NAMES:
        assert first[name].value == pytest.approx(second[name].value, abs=1e-12)


@pytest.mark.parametrize(
    ("y", "reason"),
    [
        ([0, 0, 0], "0 defaulters among 3 clients"),
        ([1, 1, 1], "3 defaulters among 3 clients"),
        ([], "no rows"),
    ],
)
def test_one_class_gives_reasons_not_errors(y, reason):
    figures = classification_metrics(y, [0.2] * len(y))
    for name in ("roc_auc", "gini", "average_precision", "ks"):
        assert figures[name].value is None
        assert reason in figures[name].reason
    rest = [figures[n] for n in METRIC_NAMES[4:]]
    assert all((m.value is None) == (not y) for m in rest)


def test_certain_and_wrong_stays_finite():
    assert np.isfinite(value([1, 0], [0.0, 1.0], "log_loss"))


@pytest.mark.parametrize(
    ("y", "pd"),
    [([0, 1], [0.1]), ([0, 2], [0.1, 0.2]), ([0, 1], [0.1, np.nan]), ([0, 1], [0.1, 1.1]), ([[0]], [[0.1]])],
)
def test_unusable_input_is_refused(y, pd):
    with pytest.raises(ValueError, match=r"columns|neither|outside"):
        classification_metrics(y, pd)


@given(coarse, st.sampled_from([0.0, 0.3, 0.5, 1.0]))
@settings(max_examples=60, deadline=None)
def test_threshold_metrics_agree_with_the_classification_report(rows, threshold):
    y, pd = np.array([y for y, _ in rows]), np.array([p for _, p in rows]) / 6
    ours = threshold_metrics(y, pd, threshold)
    report = classification_report(y, pd >= threshold, labels=[0, 1], output_dict=True, zero_division=0)
    assert ours.accuracy.value == pytest.approx(np.mean(y == (pd >= threshold)))
    for label in (0, 1):
        mine, theirs = ours.classes[label], report[str(label)]
        assert mine.support == theirs["support"]
        for name, key in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert (getattr(mine, name).value or 0.0) == pytest.approx(theirs[key])


def test_undefined_precision_has_a_reason():
    report = threshold_metrics([0, 1], [0.1, 0.2], 0.5)
    assert report.classes[1].precision == Metric(None, "no client was called a member of this class")
    assert report.classes[1].f1 == Metric(0.0)
    assert threshold_metrics([], [], 0.5).accuracy.reason == "no rows"


def test_a_metric_is_a_value_or_a_reason():
    with pytest.raises(ValueError, match="either"):
        Metric(None)
    with pytest.raises(ValueError, match="either"):
        Metric(1.0, "why")


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.1 + 1e-12, 0.5, 0.9, 1.0]), st.booleans()), min_size=2),
    st.integers(2, 10),
)
def test_bins_are_those_of_equal_count(rows, count):
    pd, y = np.array([pd for pd, _ in rows]), np.array([int(bad) for _, bad in rows])
    found, index = Ordered.of(y, pd).bins(count), equal_count_bins(pd, count)
    members = [index == place for place in np.unique(index)]
    assert found.clients.tolist() == [inside.sum() for inside in members]
    assert found.defaulters.tolist() == [y[inside].sum() for inside in members]
    assert found.expected == pytest.approx([pd[inside].sum() for inside in members], abs=1e-12)
    assert found.low.tolist() == [pd[inside].min() for inside in members]
    assert found.high.tolist() == [pd[inside].max() for inside in members]


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.2 + 1e-12, 0.7, 1.0]), st.booleans()), min_size=2))
def test_precision_and_loss_agree_with_scikit_learn_under_many_ties(rows):
    pd, y = np.array([pd for pd, _ in rows]), np.array([int(bad) for _, bad in rows])
    found = classification_metrics(y, pd)
    assert found["log_loss"].value == pytest.approx(log_loss(y, pd, labels=[0, 1]), rel=1e-12)
    assert found["brier"].value == pytest.approx(brier_score_loss(y, pd, pos_label=1), rel=1e-12, abs=1e-15)
    if 0 < y.sum() < y.size:
        assert found["average_precision"].value == pytest.approx(average_precision_score(y, pd), rel=1e-12)


# ── Order ───────────────────────────────────────────────────────────────────────────────────────

# Values that differ in the last bits alone stand beside others; a run of neighbours is a crowd.
NEIGHBOURS = st.builds(
    lambda value, step: value + step * np.spacing(value),
    st.sampled_from([0.0, 1e-300, 0.1, -0.3]),
    st.integers(-40, 40),
)


@given(st.lists(NEIGHBOURS | st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 0.5]), max_size=60))
def test_ascending_is_what_numpy_sorts_and_says_where_each_value_stood(values):
    column = np.array(values, dtype=np.float64)
    found, places = ascending(column)
    assert (found == np.sort(column)).all()
    assert np.array_equal(np.sort(places), np.arange(column.size))
    assert (column[places] == found).all()


def test_ascending_puts_many_neighbours_in_order():
    column = 0.25 + np.random.default_rng(3).integers(0, 5000, 20_000) * np.spacing(0.25)
    found, places = ascending(column)
    assert np.array_equal(found, np.sort(column))
    assert np.array_equal(column[places], found)


CLIENTS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.9, 1.0]) | st.floats(0, 1)),
    min_size=1,
)


@given(CLIENTS)
def test_clients_with_their_places_are_in_the_order_of_those_without(clients):
    y, pd = (np.array(column) for column in zip(*clients, strict=True))
    alone, (ordered, places) = Ordered.of(y, pd), Ordered.with_places(y, pd)
    assert np.array_equal(ordered.pd, alone.pd)
    assert ordered.defaulters == alone.defaulters
    for label, pds, found in ((1, ordered.bad, places[0]), (0, ordered.good, places[1])):
        assert np.array_equal(pd[y == label][found], pds)


@given(CLIENTS, st.integers(1, 30))
def test_edges_of_ordered_clients_are_the_quantiles(clients, bins):
    y, pd = (np.array(column, dtype=np.float64) for column in zip(*clients, strict=True))
    quantiles = np.quantile(pd, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf")
    assert np.array_equal(Ordered.of(y, pd)._edges(bins), np.unique(quantiles))
