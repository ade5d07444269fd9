"""Outcomes of splits, and the scores that follow from them, held against plain ways to the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier

from models.trees import BLOCK, SPLITS_MAX, LeafTables, Splits, Workspace, gaps_in

CELLS = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 1.0, np.inf, np.nan])
TESTS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([-1.0, 0.0, 0.5, np.inf]), st.booleans()),
    max_size=SPLITS_MAX,
)


def bit_by_bit(columns: np.ndarray, splits: Splits, row: int) -> int:
    outcome = 0
    tests = zip(splits.columns, splits.thresholds, splits.missing_left, strict=True)
    for bit, (place, threshold, missing_left) in enumerate(tests):
        value = columns[place, row]
        left = missing_left if np.isnan(value) else value <= threshold
        outcome |= int(left) << bit
    return outcome


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=9), TESTS, TESTS)
def test_outcome_holds_one_bit_a_split(rows: list, first: list, second: list) -> None:
    """One workspace for two trees, as in use: nothing of the first may show in the second."""
    columns = np.array(rows).T
    work = Workspace(columns.shape[1])
    for tests in (first, second):
        splits = Splits(*(tuple(test[part] for test in tests) for part in range(3)))  # type: ignore[arg-type]
        found = work.outcome(columns, gaps_in(columns), splits).tolist()
        assert found == [bit_by_bit(columns, splits, row) for row in range(columns.shape[1])]


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 999),
    leaves=st.sampled_from([2, 3, 9, 10, 13, 40]),
    gaps=st.booleans(),
    iterations=st.integers(1, 5),
)
def test_scores_are_those_of_scikit_learn(seed: int, leaves: int, gaps: bool, iterations: int) -> None:
    """Trees of as many splits as fill a byte, one more, one less, and of several tables each."""
    X, y = drawn(seed, 300, gaps)
    model = HistGradientBoostingClassifier(
        max_iter=iterations, max_leaf_nodes=leaves, min_samples_leaf=2, max_depth=12
    ).fit(X, y)
    assert (LeafTables(model)(X) == model.decision_function(X)).all()


def test_tree_of_one_leaf_adds_its_value() -> None:
    X, y = drawn(1, 30, gaps=False)
    model = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=30).fit(X, y)
    assert [len(tree.nodes) for (tree,) in model._predictors] == [1, 1]
    assert (LeafTables(model)(X) == model.decision_function(X)).all()


@pytest.mark.parametrize("rows", [1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_rows_score_alike_in_every_block(rows: int) -> None:
    X, y = drawn(2, BLOCK + 1, gaps=True)
    model = HistGradientBoostingClassifier(max_iter=3).fit(X[:500], y[:500])
    tables = LeafTables(model)
    assert (tables(X[:rows]) == tables(X)[:rows]).all()
    assert (tables(X[:rows]) == model.decision_function(X[:rows])).all()


def drawn(seed: int, rows: int, gaps: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = np.round(rng.normal(size=(rows, 4)), 2)
    if gaps:
        X[rng.random(X.shape) < 0.2] = np.nan
    y = (np.nan_to_num(X[:, 0]) * np.nan_to_num(X[:, 1]) + rng.normal(size=rows) > 0).astype(int)
    y[:2] = 0, 1
    return X, y
