"""A set laid out for scoring gives what its estimators give."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier

from creditflow.columns import OUTCOME
from models.anomaly import VAEAnomalyDetector
from models.baselines import make_gradient_boosting, make_logistic, make_logistic_smote, make_study_logistic
from models.blend import BlendClassifier
from models.features import FeatureSet
from models.registry import raw_score
from models.scoring import PART_ROWS, Additive, SetScorer
from models.trees import LeafTables
from models.vae import VAEClassifier

FEATURES = FeatureSet()


@pytest.fixture(scope="module", name="X")
def feature_matrix(clients: pl.DataFrame) -> np.ndarray:
    return FEATURES.matrix(clients)


@pytest.fixture(scope="module", name="y")
def outcomes(clients: pl.DataFrame) -> np.ndarray:
    return clients[OUTCOME].to_numpy()


@pytest.fixture(scope="module")
def estimators(X: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """One of every layout, fitted on 1,500 clients."""
    codes = list(FEATURES.code_indices)
    models = {
        "logistic": make_logistic(3, FEATURES),
        "logistic_smote": make_logistic_smote(3, FEATURES),
        "gradient_boosting": make_gradient_boosting(3, FEATURES).set_params(classify__max_iter=40),
        "vae_supervised": VAEClassifier(categorical_features=codes, epochs=1, random_state=3),
        "vae_anomaly": VAEAnomalyDetector(categorical_features=codes, epochs=1, random_state=3),
    }
    fitted = {name: model.fit(X, y) for name, model in models.items()}
    members = {name: fitted[name] for name in ("vae_supervised", "gradient_boosting")}
    return fitted | {"blend": BlendClassifier.from_fitted(members)}


def test_a_set_scores_as_its_estimators_do(estimators, X):
    found = SetScorer(estimators)(X)
    assert list(found) == list(estimators)
    for name, estimator in estimators.items():
        expected = raw_score(estimator, X)
        if name.startswith("logistic"):
            np.testing.assert_allclose(found[name], expected, rtol=1e-12, atol=1e-14)
        else:
            np.testing.assert_array_equal(found[name], expected, err_msg=name)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(0, 1_499), min_size=1, max_size=70))
def test_a_score_is_the_same_alone_and_among_others(estimators, X, rows):
    scorer = SetScorer(estimators)
    together, some = scorer(X), scorer(X[rows])
    for name in estimators:
        np.testing.assert_array_equal(some[name], together[name][rows], err_msg=name)


def test_more_rows_than_one_part_keep_their_order(estimators, X):
    few = {name: estimators[name] for name in ("logistic", "gradient_boosting")}
    rows = np.random.default_rng(0).integers(0, len(X), PART_ROWS + 100)
    scorer = SetScorer(few)
    expected = scorer(X)
    for name, found in scorer(X[rows]).items():
        np.testing.assert_array_equal(found, expected[name][rows])


def test_no_row_gives_no_score(estimators, X):
    few = {name: estimators[name] for name in ("logistic", "gradient_boosting")}
    assert all(len(score) == 0 for score in SetScorer(few)(X[:0]).values())


def test_regressions_on_the_same_ranks_share_them(estimators):
    (layout,) = SetScorer(estimators)._additive
    assert layout.names == ("logistic", "logistic_smote")


def test_regressions_on_other_ranks_do_not(estimators, X, y):
    other = make_logistic(3, FEATURES).fit(X[:700], y[:700])
    scorer = SetScorer({"logistic": estimators["logistic"], "logistic_smote": other})
    assert [layout.names for layout in scorer._additive] == [("logistic",), ("logistic_smote",)]
    np.testing.assert_allclose(scorer(X)["logistic_smote"], raw_score(other, X), rtol=1e-12)


def test_a_regression_without_ranks_goes_its_own_way(clients, y):
    X = clients.select("limit_bal", "age", "pay_1", "bill_amt1", "pay_amt1").to_numpy()
    study = make_study_logistic(1).fit(X, y)
    scorer = SetScorer({"logistic": study})
    assert not scorer._additive
    np.testing.assert_allclose(scorer(X)["logistic"], raw_score(study, X), rtol=1e-12)


def test_a_blend_of_other_estimators_is_scored_by_itself(estimators, X, y):
    """Of the members' names, but another version's."""
    other = make_gradient_boosting(9, FEATURES).set_params(classify__max_iter=5).fit(X, y)
    members = {"vae_supervised": estimators["vae_supervised"], "gradient_boosting": other}
    found = SetScorer(estimators | {"blend": BlendClassifier.from_fitted(members)})(X[:100])
    expected = raw_score(BlendClassifier.from_fitted(members), X[:100])
    np.testing.assert_allclose(found["blend"], expected, rtol=1e-12)
    assert not np.array_equal(found["blend"], SetScorer(estimators)(X[:100])["blend"])


# ── Trees ───────────────────────────────────────────────────────────────────────────────────────


def grown(rows: int = 3_000, gaps: bool = False, **settings: Any) -> tuple[Any, np.ndarray]:
    rng = np.random.default_rng(5)
    X = np.asfortranarray(rng.normal(size=(rows, 5)).round(1))
    if gaps:
        X[rng.random(X.shape) < 0.2] = np.nan
    y = (rng.random(rows) < 1 / (1 + np.exp(-np.nansum(X[:, :2], axis=1)))).astype(int)
    return HistGradientBoostingClassifier(early_stopping=False, random_state=1, **settings).fit(X, y), X


@pytest.mark.parametrize(
    "settings",
    [
        {"max_iter": 30},
        {"max_iter": 3, "max_leaf_nodes": 60, "min_samples_leaf": 2, "max_depth": 10},
        {"max_iter": 20, "gaps": True},
        {"max_iter": 2, "min_samples_leaf": 2_000},
    ],
    ids=["usual", "cut into several tables", "gaps", "a single leaf"],
)
def test_leaf_tables_give_the_trees_log_odds_to_the_last_digit(settings):
    trees, X = grown(**settings)
    np.testing.assert_array_equal(LeafTables(trees)(X), trees.decision_function(X))


def test_values_on_a_threshold_go_left():
    trees, _ = grown(max_iter=10)
    thresholds = np.concatenate(
        [p.nodes["num_threshold"][~p.nodes["is_leaf"].astype(bool)] for (p,) in trees._predictors]
    )
    on = np.repeat(thresholds[:, None], 5, axis=1)
    np.testing.assert_array_equal(LeafTables(trees)(on), trees.decision_function(on))


def test_trees_that_no_table_holds_go_their_own_way():
    rng = np.random.default_rng(1)
    X = np.sort(rng.exponential(size=(4_000, 1)), axis=0)
    y = (rng.random(4_000) < X[:, 0] / X.max()).astype(int)
    chain = HistGradientBoostingClassifier(max_iter=1, max_leaf_nodes=200, min_samples_leaf=1, random_state=1)
    chain.fit(X, y)
    np.testing.assert_array_equal(
        SetScorer({"gradient_boosting": chain})(X)["gradient_boosting"], raw_score(chain, X)
    )


def test_an_additive_layout_holds_codes_that_training_never_met(estimators, X):
    layout = SetScorer(estimators)._additive[0]
    assert isinstance(layout, Additive)
    strange = X.copy()
    strange[:, list(FEATURES.code_indices)] = 99
    np.testing.assert_allclose(layout(strange)[0], raw_score(estimators["logistic"], strange), rtol=1e-12)
