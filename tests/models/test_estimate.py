"""The expectations against brute force, against realised figures, and against outcomes drawn from the PDs."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.estimate import AUC_DEVIATION, ESTIMATED_NAMES, estimated_metrics, expected_confusion
from models.metrics import METRIC_NAMES, classification_metrics, threshold_metrics

# Few distinct values, so that ties are the rule and not the exception.
COARSE = st.integers(0, 20).map(lambda n: n / 20)
PDS = st.lists(COARSE, min_size=2, max_size=30)
RANKED = st.lists(st.tuples(COARSE, st.integers(-3, 3)), min_size=2, max_size=30)
OUTCOMES = st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=2, max_size=40)


def values(pd, rank_by=None):
    return {name: metric.value for name, metric in estimated_metrics(pd, rank_by).items()}


def brute_force_auc(pairs):
    above = total = 0.0
    for i, (p, a) in enumerate(pairs):
        for j, (q, b) in enumerate(pairs):
            if i != j:
                total += p * (1 - q)
                above += p * (1 - q) * ((a > b) + 0.5 * (a == b))
    return above / total if total > 0 else None


# ── Against the definition ──────────────────────────────────────────────────────────────────────


@given(RANKED)
def test_auc_is_the_double_sum_over_pairs(rows):
    pd, ranks = zip(*rows, strict=True)
    wanted = brute_force_auc(rows)
    found = values(pd, ranks)["roc_auc"]
    assert found is None if wanted is None else found == pytest.approx(wanted, abs=1e-12)


@given(PDS)
def test_ranked_by_the_pd_unless_told_otherwise(pd):
    found, wanted = values(pd), values(pd, pd)
    assert found == pytest.approx(wanted, nan_ok=False)


@given(PDS, st.randoms(use_true_random=False))
def test_order_of_the_rows_changes_nothing_to_the_last_digit(pd, random):
    shuffled = random.sample(pd, len(pd))
    assert estimated_metrics(shuffled) == estimated_metrics(pd)


@given(OUTCOMES)
def test_certain_pds_give_the_realised_figures(rows):
    """With PDs of 0 and 1 nothing is left to chance: the expectation is the truth, whatever the ranking."""
    outcomes, ranks = map(np.array, zip(*rows, strict=True))
    found = values(outcomes, ranks)
    # The ranking metrics know nothing of the scale of a score.
    truth = classification_metrics(outcomes, (ranks + 3) / 6)
    for name in ("roc_auc", "gini", "average_precision", "ks", "observed_rate"):
        wanted = truth[name].value
        assert found[name] is None if wanted is None else found[name] == pytest.approx(wanted, abs=1e-12)
    assert (found["brier"], found["log_loss"]) == (0, 0)
    assert found[AUC_DEVIATION] in (None, 0)


@given(OUTCOMES, COARSE)
def test_certain_pds_give_the_realised_confusion(rows, threshold):
    outcomes = np.array([outcome for outcome, _ in rows])
    found, truth = expected_confusion(outcomes, threshold), threshold_metrics(outcomes, outcomes, threshold)
    assert found.accuracy.value == pytest.approx(truth.accuracy.value)
    assert found.precision.value == pytest.approx(truth.classes[1].precision.value)
    assert found.recall.value == pytest.approx(truth.classes[1].recall.value)


@given(st.integers(2, 50), COARSE.filter(lambda p: 0 < p < 1))
def test_one_pd_for_all_ranks_as_chance_does(clients, p):
    found = values([p] * clients)
    assert found["roc_auc"] == pytest.approx(0.5)
    assert found["ks"] == pytest.approx(0, abs=1e-12)
    assert found["average_precision"] == pytest.approx(p)
    # All tied: no outcome can move the AUC from one half.
    assert found[AUC_DEVIATION] == pytest.approx(0, abs=1e-12)


def test_published_value_of_the_uniform_case():
    """PDs uniform on (0, 1): AUC 5/6, Brier 1/6, log loss 1/2, KS 1/2, by integration."""
    found = values((np.arange(200_000) + 0.5) / 200_000)
    assert found["roc_auc"] == pytest.approx(5 / 6, abs=1e-5)
    assert found["brier"] == pytest.approx(1 / 6, abs=1e-6)
    assert found["log_loss"] == pytest.approx(1 / 2, abs=1e-6)
    # The shares above x are 1 - x² and (1 - x)², which lie farthest apart at x = 1/2.
    assert found["ks"] == pytest.approx(1 / 2, abs=1e-5)
    assert found["observed_rate"] == found["mean_pd"] == pytest.approx(1 / 2)


# ── Against outcomes drawn from the PDs ─────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def portfolio():
    """PDs like those of a month, some tied, and the figures that 400 draws of outcomes from them give."""
    rng = np.random.default_rng(11)
    pd = np.round(rng.beta(1.2, 4.5, 3000), 3)
    draws = [classification_metrics((rng.random(pd.size) < pd).astype(int), pd) for _ in range(400)]
    return pd, {name: np.array([draw[name].value for draw in draws]) for name in METRIC_NAMES}


@pytest.mark.parametrize("name", ["roc_auc", "gini", "brier", "log_loss", "observed_rate"])
def test_estimate_is_the_mean_of_realised_figures(portfolio, name):
    pd, drawn = portfolio
    error = drawn[name].std() / np.sqrt(drawn[name].size)
    assert abs(drawn[name].mean() - values(pd)[name]) < 4 * error


@pytest.mark.parametrize("name", ["average_precision", "ks"])
def test_figures_of_expected_curves_are_close_to_the_mean_of_realised_ones(portfolio, name):
    pd, drawn = portfolio
    gap = drawn[name].mean() - values(pd)[name]
    assert 0 <= gap < drawn[name].std()


def test_deviation_is_that_of_the_realised_auc(portfolio):
    pd, drawn = portfolio
    # The standard error of a standard deviation from 400 draws is 3.5 % of it.
    assert values(pd)[AUC_DEVIATION] == pytest.approx(drawn["roc_auc"].std(ddof=1), rel=0.12)


def test_deviation_falls_with_the_root_of_the_clients(portfolio):
    pd, _ = portfolio
    assert values(np.tile(pd, 4))[AUC_DEVIATION] == pytest.approx(values(pd)[AUC_DEVIATION] / 2, rel=1e-3)


@settings(max_examples=30)
@given(PDS, COARSE)
def test_expected_confusion_counts_every_client_once(pd, threshold):
    found = expected_confusion(pd, threshold)
    flagged = sum(p >= threshold for p in pd)
    assert found.hits + found.false_alarms == pytest.approx(flagged)
    assert found.misses + found.rejections == pytest.approx(len(pd) - flagged)
    assert found.hits + found.misses == pytest.approx(sum(pd))


# ── Where there is no figure, and what is refused ───────────────────────────────────────────────


@pytest.mark.parametrize(
    ("pd", "reason"),
    [
        ([], "no rows"),
        ([0.3], "one client only"),
        ([0.0, 0.0], "every one of 2 clients does not default for certain"),
        ([1.0, 1.0, 1.0], "every one of 3 clients defaults for certain"),
    ],
)
def test_months_without_pairs_say_why(pd, reason):
    found = estimated_metrics(pd)
    assert tuple(found) == ESTIMATED_NAMES
    for name in ("roc_auc", "gini", "average_precision", "ks", AUC_DEVIATION):
        assert found[name].value is None
        assert reason in found[name].reason


def test_calibration_is_taken_for_granted_and_never_estimated():
    assert "calibrated" in estimated_metrics([0.1, 0.4])["ece"].reason


@pytest.mark.parametrize(
    ("threshold", "missing"), [(0.9, "precision"), (0.0, None)], ids=["nobody flagged", "all flagged"]
)
def test_confusion_without_a_flag_has_no_precision(threshold, missing):
    found = expected_confusion([0.1, 0.2], threshold)
    assert (found.precision.value is None) == (missing == "precision")
    assert found.recall.value is not None


@pytest.mark.parametrize(
    ("pd", "rank_by", "message"),
    [
        ([0.1, 1.1], None, r"outside \[0, 1\]"),
        ([0.1, np.nan], None, "not a number"),
        ([0.1, 0.2], [1.0], "two equal columns"),
        ([[0.1, 0.2]], None, "two equal columns"),
        ([0.1, 0.2], [1.0, np.nan], "a rank is not a number"),
    ],
)
def test_input_that_is_no_column_of_pds_is_refused(pd, rank_by, message):
    with pytest.raises(ValueError, match=message):
        estimated_metrics(pd, rank_by)


def test_a_million_clients_take_a_moment():
    pd = np.random.default_rng(1).beta(1.2, 4.5, 1_000_000)
    started = time.process_time()
    estimated_metrics(pd)
    assert time.process_time() - started < 2
