"""Contributions of columns and groups to the log-odds of each kind of classifier."""

from itertools import permutations
from math import factorial
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from threadpoolctl import threadpool_limits

from creditflow.columns import OUTCOME
from creditflow.errors import UsageError
from models.anomaly import VAEAnomalyDetector
from models.attribution import attribute, contributions, prepare, shapley_values, unexplained
from models.baselines import make_gradient_boosting, make_logistic, make_logistic_smote, make_study_logistic
from models.blend import BlendClassifier
from models.features import FeatureSet
from models.trees import SPLITS_MAX
from models.vae import VAEClassifier

FEATURES = FeatureSet()
GROUPS = [column % 7 for column in range(len(FEATURES.names))]
KINDS = ("logistic", "logistic_smote", "study_logistic", "gradient_boosting", "vae_supervised", "blend")


@pytest.fixture(scope="module", name="X")
def feature_matrix(clients: pl.DataFrame) -> np.ndarray:
    return FEATURES.matrix(clients)


@pytest.fixture(scope="module")
def fitted(clients: pl.DataFrame, X: np.ndarray) -> dict[str, Any]:
    """Every kind of classifier, fitted once on 1,500 clients."""
    y = clients[OUTCOME].to_numpy()
    vae = VAEClassifier(
        categorical_features=list(FEATURES.code_indices),
        reconstructed_features=list(FEATURES.amount_indices),
        epochs=2,
        random_state=3,
    )
    models = {
        "logistic": make_logistic(3, FEATURES),
        "logistic_smote": make_logistic_smote(3, FEATURES),
        "study_logistic": make_study_logistic(3),
        "gradient_boosting": make_gradient_boosting(3, FEATURES).set_params(classify__max_iter=40),
        "vae_supervised": vae,
    }
    fitted = {name: model.fit(X, y) for name, model in models.items()}
    members = {name: fitted[name] for name in ("vae_supervised", "gradient_boosting")}
    return fitted | {"blend": BlendClassifier.from_fitted(members)}


# ── Additivity ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("groups", [None, GROUPS], ids=["columns", "groups"])
@pytest.mark.parametrize("kind", KINDS)
def test_base_and_contributions_add_up_to_the_log_odds(
    kind: str, groups: list[int] | None, fitted: dict[str, Any], X: np.ndarray
) -> None:
    found = contributions(fitted[kind], X, groups)
    assert found.values.shape == (len(X), len(FEATURES.names) if groups is None else 7)
    tolerance = 1e-4 if kind in ("vae_supervised", "blend") else 1e-10
    np.testing.assert_allclose(
        found.base + found.values.sum(axis=1), fitted[kind].decision_function(X), rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_alone_is_the_row_among_many(kind: str, fitted: dict[str, Any], X: np.ndarray) -> None:
    explainer = prepare(fitted[kind], X.shape[1], GROUPS)
    together = attribute(explainer, X[:200]).values
    for row in (0, 17, 199):
        np.testing.assert_array_equal(attribute(explainer, X[row : row + 1]).values[0], together[row])


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_memory_and_size_of_blocks_change_nothing(
    kind: str, fitted: dict[str, Any], X: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = X[:300]
    once = contributions(fitted[kind], np.asfortranarray(rows), GROUPS).values
    monkeypatch.setattr("models.attribution.BLOCK", 64)
    np.testing.assert_array_equal(
        contributions(fitted[kind], np.ascontiguousarray(rows), GROUPS).values, once
    )


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_give_no_contributions(kind: str, fitted: dict[str, Any], X: np.ndarray) -> None:
    assert contributions(fitted[kind], X[:0], GROUPS).values.shape == (0, 7)


def test_the_blend_is_the_mean_of_its_members(fitted: dict[str, Any], X: np.ndarray) -> None:
    blend, vae, trees = (
        contributions(fitted[kind], X[:50], GROUPS)
        for kind in ("blend", "vae_supervised", "gradient_boosting")
    )
    np.testing.assert_allclose(blend.values, (vae.values + trees.values) / 2, rtol=0, atol=1e-12)
    assert blend.base == pytest.approx((vae.base + trees.base) / 2, abs=1e-12)


# ── Logistic regression ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["logistic", "study_logistic"])
def test_logistic_contributions_are_0_on_average_over_the_training_rows(
    kind: str, fitted: dict[str, Any], X: np.ndarray
) -> None:
    np.testing.assert_allclose(contributions(fitted[kind], X).values.mean(axis=0), 0, atol=1e-10)


def test_logistic_contribution_is_coefficient_times_distance_from_the_mean() -> None:
    X = np.array([[0.0, 1.0], [2.0, 5.0], [4.0, 3.0], [6.0, 7.0]])
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, [0, 0, 1, 1])
    slope = model[-1].coef_[0] / X.std(axis=0)
    found = contributions(model, X)
    np.testing.assert_allclose(found.values, slope * (X - [3.0, 4.0]), atol=1e-12)
    assert found.base == pytest.approx(model[-1].intercept_[0])


def test_a_group_of_logistic_regression_is_the_sum_of_its_columns(
    fitted: dict[str, Any], X: np.ndarray
) -> None:
    columns, groups = (
        contributions(fitted["logistic"], X[:20]),
        contributions(fitted["logistic"], X[:20], GROUPS),
    )
    for group in range(7):
        own = [column for column, of in enumerate(GROUPS) if of == group]
        np.testing.assert_allclose(groups.values[:, group], columns.values[:, own].sum(axis=1), atol=1e-12)


# ── Trees: Shapley values by brute force ────────────────────────────────────────────────────────


def expectation(
    nodes: np.ndarray, x: np.ndarray, known: set[int], players: list[int], node: int = 0
) -> float:
    """Algorithm 1 of Lundberg et al. 2020: the mean over the training rows, given the known players."""
    here = nodes[node]
    if here["is_leaf"]:
        return float(here["value"])
    left, right = int(here["left"]), int(here["right"])
    if players[here["feature_idx"]] in known:
        value = x[here["feature_idx"]]
        goes_left = here["missing_go_to_left"] if np.isnan(value) else value <= here["num_threshold"]
        return expectation(nodes, x, known, players, left if goes_left else right)
    share = nodes[left]["count"] / here["count"]
    return share * expectation(nodes, x, known, players, left) + (1 - share) * expectation(
        nodes, x, known, players, right
    )


def brute_force(nodes: np.ndarray, x: np.ndarray, players: list[int]) -> np.ndarray:
    """The mean over all orders in which the players become known of what each adds."""
    count = max(players) + 1
    values = np.zeros(count)
    for order in permutations(range(count)):
        known: set[int] = set()
        before = expectation(nodes, x, known, players)
        for player in order:
            known.add(player)
            after = expectation(nodes, x, known, players)
            values[player] += after - before
            before = after
    return values / factorial(count)


def grown(X: np.ndarray, y: np.ndarray, **settings: Any) -> HistGradientBoostingClassifier:
    with threadpool_limits(1):
        return HistGradientBoostingClassifier(early_stopping=False, **settings).fit(X, y)


def small_trees(seed: int, rows: int = 400, columns: int = 5, gaps: bool = False, **settings: Any) -> Any:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, columns))
    y = (X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(size=rows) > 0).astype(int)
    if gaps:
        X[rng.random(X.shape) < 0.2] = np.nan
    defaults = {"max_iter": 3, "max_leaf_nodes": 12, "min_samples_leaf": 5}
    return grown(X, y, **defaults | settings, random_state=seed), X


@pytest.mark.parametrize("players", [[0, 1, 2, 3, 4], [0, 1, 1, 0, 2], [2, 0, 3, 1, 0], [0, 0, 0, 0, 0]])
@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "with gaps"])
def test_trees_give_the_shapley_values_of_every_order(players: list[int], gaps: bool) -> None:
    model, X = small_trees(5, gaps=gaps)
    found = contributions(model, X[:4], players).values
    for x, values in zip(X[:4], found, strict=True):
        by_hand = sum(brute_force(tree.nodes, x, players) for (tree,) in model._predictors)
        np.testing.assert_allclose(values, by_hand, rtol=0, atol=1e-13)


def test_a_tree_worked_by_hand() -> None:
    # One split on column 0 at 300 of 400 rows, then one on column 1 for those that went left, half each.
    dtype = small_trees(1)[0]._predictors[0][0].nodes.dtype
    nodes = np.zeros(5, dtype=dtype)
    nodes["count"] = [400, 300, 100, 150, 150]
    nodes["is_leaf"] = [0, 0, 1, 1, 1]
    nodes["value"] = [0, 0, 4, 0, 2]
    nodes["feature_idx"][:2] = [0, 1]
    nodes["left"][:2], nodes["right"][:2] = [1, 3], [2, 4]
    model, _ = small_trees(1, columns=3, max_iter=1)
    model._predictors[0][0].nodes, model._baseline_prediction = nodes, np.array([[-1.0]])
    # Knowing nothing: 3/4 · (0 + 2) / 2 + 1/4 · 4 = 1.75; with column 0 known to go left: 1; with column 1
    # known to go right: 3/4 · 2 + 1/4 · 4 = 2.5; with both: 2. So column 0 adds −0.75 first or −0.5 second,
    # and column 1 adds 0.75 first or 1 second.
    found = contributions(model, np.array([[-1.0, 1.0, 9.0]]))
    assert found.base == pytest.approx(-1 + 1.75)
    np.testing.assert_allclose(found.values, [[-0.625, 0.875, 0.0]], atol=1e-15)


@given(shares=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_shapley_values_keep_the_axioms(shares: list[float]) -> None:
    z = np.array(shares)
    m = len(z)
    values = shapley_values(z)
    met = (np.arange(2**m) >> np.arange(m)[:, None]) & 1
    # Efficiency: together they add what knowing everything changes.
    np.testing.assert_allclose(values.sum(axis=0), met.all(axis=0) - z.prod(), atol=1e-12)
    # Dummy: who counts 1 known or unknown adds nothing where the conditions are met.
    if m > 1:
        dummy = shapley_values(np.append(z, 1.0))[:, 2**m :]
        np.testing.assert_allclose(dummy[-1], 0, atol=1e-12)
        np.testing.assert_allclose(dummy[:-1], values, atol=1e-12)
    # Symmetry: players of the same share and the same outcome add the same.
    twins = shapley_values(np.append(z, z[0]))
    patterns = np.arange(2 ** (m + 1))
    alike = patterns[(patterns & 1) == (patterns >> m)]
    np.testing.assert_allclose(twins[0, alike], twins[-1, alike], atol=1e-12)


@given(seed=st.integers(0, 10_000), shuffle=st.permutations(range(5)))
@settings(max_examples=10, deadline=None)
def test_players_keep_their_values_under_other_numbers(seed: int, shuffle: list[int]) -> None:
    model, X = small_trees(seed, rows=120, max_iter=2)
    plain, renamed = contributions(model, X[:20]), contributions(model, X[:20], shuffle)
    np.testing.assert_allclose(renamed.values[:, shuffle], plain.values, atol=1e-13)


def test_a_column_that_no_tree_splits_on_adds_nothing() -> None:
    model, X = small_trees(2)
    constant = np.column_stack([X, np.full(len(X), 3.0)])
    labels = model.predict(X)
    model = grown(constant, labels, max_iter=3)
    assert np.all(contributions(model, constant).values[:, -1] == 0)


def test_trees_too_large_for_one_table_are_cut_into_several() -> None:
    model, X = small_trees(9, rows=2_000, max_iter=2, max_leaf_nodes=60, min_samples_leaf=2, max_depth=10)
    explainer = prepare(model, X.shape[1])
    assert max(len(tables) for tables in explainer._trees) > 3  # type: ignore[attr-defined]
    found = explainer.values(X[:2])
    np.testing.assert_allclose(explainer.base + found.sum(axis=1), model.decision_function(X[:2]), atol=1e-12)
    for x, values in zip(X[:2], found, strict=True):
        by_hand = sum(brute_force(tree.nodes, x, [0, 1, 2, 3, 4]) for (tree,) in model._predictors)
        np.testing.assert_allclose(values, by_hand, rtol=0, atol=1e-12)


def test_trees_too_deep_are_refused() -> None:
    rng = np.random.default_rng(1)
    X = np.sort(rng.exponential(size=(4_000, 1)), axis=0)
    y = (rng.random(4_000) < X[:, 0] / X.max()).astype(int)
    chain = grown(X, y, max_iter=1, max_leaf_nodes=200, min_samples_leaf=1)
    depth = chain._predictors[0][0].get_max_depth()
    assert depth > SPLITS_MAX, "the sample no longer grows a deep tree"
    with pytest.raises(UsageError, match=f"at most {SPLITS_MAX} splits"):
        contributions(chain, X)


SHAP_BASE = -0.012386184508
SHAP_VALUES = [
    [0.317835668601, -0.641610064281, -0.576247303177, 0.062214869461],
    [-1.564057746226, 0.146536417269, -0.135900486923, -0.049405412344],
    [0.291577731860, -0.718146764423, -0.572992109196, 0.126306618447],
]


def test_trees_agree_with_shap() -> None:
    """Values of shap 0.51.0: TreeExplainer(feature_perturbation="tree_path_dependent") of this very model."""
    model, X = small_trees(42, rows=300, columns=4, max_iter=20)
    found = contributions(model, X[:3])
    assert found.base == pytest.approx(SHAP_BASE, abs=1e-9)
    np.testing.assert_allclose(found.values, SHAP_VALUES, rtol=0, atol=1e-9)


# ── What is refused ─────────────────────────────────────────────────────────────────────────────


def test_a_detector_has_no_contributions_and_says_so(X: np.ndarray) -> None:
    detector = VAEAnomalyDetector(random_state=1)
    assert "VAEAnomalyDetector has no additive contributions" in str(unexplained(detector))
    with pytest.raises(UsageError, match="VAEAnomalyDetector has no additive contributions"):
        contributions(detector, X)


@pytest.mark.parametrize("kind", KINDS)
def test_classifiers_of_the_monthly_set_are_explained(kind: str, fitted: dict[str, Any]) -> None:
    assert unexplained(fitted[kind]) is None


def test_a_blend_with_a_member_that_is_not_explained_is_not_explained(fitted: dict[str, Any]) -> None:
    blend = BlendClassifier({})
    blend.estimators_ = {"logistic": fitted["logistic"], "vae_anomaly": VAEAnomalyDetector()}
    assert "VAEAnomalyDetector" in str(unexplained(blend))


@pytest.mark.parametrize("groups", [[0, 1], [0] * 74 + [-1]])
def test_groups_have_to_fit_the_columns(groups: list[int], fitted: dict[str, Any], X: np.ndarray) -> None:
    with pytest.raises(UsageError, match="for each of 75 columns"):
        contributions(fitted["gradient_boosting"], X, groups)


def test_steps_that_hide_the_columns_are_refused() -> None:
    X, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
    trees = make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=1)).fit(X, y)
    with pytest.raises(UsageError, match="found StandardScaler"):
        contributions(trees, X)
    uncentred = make_pipeline(MinMaxScaler(), LogisticRegression()).fit(X, y)
    with pytest.raises(UsageError, match="found MinMaxScaler"):
        contributions(uncentred, X)


def test_categorical_splits_are_refused() -> None:
    X, y = np.arange(120.0).reshape(60, 2) % 5, np.arange(60) % 2
    trees = HistGradientBoostingClassifier(max_iter=1, categorical_features=[0]).fit(X, y)
    with pytest.raises(UsageError, match="no categorical columns"):
        contributions(trees, X)
