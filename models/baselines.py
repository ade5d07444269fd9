"""The baselines: logistic regression as it comes, after SMOTE, and gradient-boosted trees.

Those of the monthly set take the (n, p) feature matrix of a `FeatureSet`; the study's two take the raw
(n, 23) attribute matrix. Labels are 0 and 1. Each is a pipeline of scikit-learn and imbalanced-learn, and
differs from theirs in two things: it trains on one thread, and data that cannot be trained on is refused
in this project's words.

Logistic regression of the monthly set is additive: its log-odds are a constant plus one curve a column, a
parabola in the column's rank for numbers and a step a category for codes. Every curve has mean 0 over the
training rows, so the constant is the average client's log-odds and each term says by how much the column
moves this client from there.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import Pipeline
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from creditflow.errors import TrainingRefused
from models.features import FeatureSet

# SMOTE as published draws between a client and one of five neighbours (Chawla et al. 2002, JAIR 16, 4.2).
NEIGHBOURS = 5
# Half of the time goes into looking ranks up; 200 knots add 0.00001 to the AUC and a quarter to the time.
KNOTS = 64
# Ridge penalty of the rank curves: 0.005 … 0.02 rank alike in cross-validation, 0.1 and 0.002 worse.
RANK_PENALTY_C = 0.01

Floats = NDArray[np.float64]


# ── Pipelines ───────────────────────────────────────────────────────────────────────────────────


class BaselinePipeline(Pipeline):
    """An imbalanced-learn pipeline that checks the outcomes before it trains."""

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Train every step.

        Raises:
            TrainingRefused: y holds one class only, or too few of one for the neighbours that SMOTE needs.
        """
        _refuse_outcomes(np.asarray(y), dict(self.steps).get("smote"))
        # One thread: sums keep their order whatever the machine, and crowded cores do not slow it tenfold.
        with threadpool_limits(1):
            return super().fit(X, y, **params)


def _refuse_outcomes(y: np.ndarray, smote: SMOTE | None) -> None:
    labels, counts = np.unique(y, return_counts=True)
    if len(labels) < 2:
        raise TrainingRefused(
            "training of a baseline",
            expected="outcomes of two classes",
            found=f"one class only: {', '.join(map(str, labels)) or 'no rows'}",
            remedy="Add months in which both outcomes occur.",
        )
    if smote is not None and counts.min() <= smote.k_neighbors:
        raise TrainingRefused(
            "training with SMOTE",
            expected=f"at least {smote.k_neighbors + 1} clients of each class",
            found=f"{counts.min()} of class {labels[counts.argmin()]}",
            remedy="Add months with more outcomes, or leave this model out.",
        )


def make_logistic(seed: int, features: FeatureSet) -> BaselinePipeline:
    """Logistic regression on ranks, their squares and one-hot codes, with a ridge penalty."""
    return BaselinePipeline([("prepare", _ranks(features)), ("classify", _logistic(seed, RANK_PENALTY_C))])


def make_logistic_smote(seed: int, features: FeatureSet) -> BaselinePipeline:
    """The same after SMOTE has filled the smaller class up to the larger one; `seed` draws its clients.

    Neighbours are sought, and clients drawn between them, among the prepared columns.
    """
    return BaselinePipeline(
        [
            ("prepare", _ranks(features)),
            ("smote", _smote(seed)),
            ("classify", _logistic(seed, RANK_PENALTY_C)),
        ]
    )


def make_gradient_boosting(seed: int, features: FeatureSet) -> BaselinePipeline:
    """Histogram gradient boosting, slow and regularised; codes are read as ordered numbers."""
    del features  # A tree needs no preparation, and statuses are an order.
    trees = HistGradientBoostingClassifier(
        learning_rate=0.02,
        max_iter=300,
        max_leaf_nodes=12,
        min_samples_leaf=80,
        l2_regularization=20.0,
        max_features=0.25,
        # Left to itself it stops early above 10,000 rows, on training rows held back in silence.
        early_stopping=False,
        random_state=seed,
    )
    return BaselinePipeline([("classify", trees)])


def make_study_logistic(seed: int) -> BaselinePipeline:
    """The study's: the 23 attributes standardised, ridge penalty of scikit-learn's default, C = 1."""
    return BaselinePipeline([("scale", StandardScaler()), ("classify", _logistic(seed, 1.0))])


def make_study_logistic_smote(seed: int) -> BaselinePipeline:
    """The study's after SMOTE."""
    return BaselinePipeline(
        [("scale", StandardScaler()), ("smote", _smote(seed)), ("classify", _logistic(seed, 1.0))]
    )


def _ranks(features: FeatureSet) -> "RankPreparation":
    return RankPreparation(code_columns=list(features.code_indices))


def _smote(seed: int) -> SMOTE:
    return SMOTE(k_neighbors=NEIGHBOURS, random_state=seed)


def _logistic(seed: int, C: float) -> LogisticRegression:
    return LogisticRegression(C=C, max_iter=1000, random_state=seed)


# ── Preparation ─────────────────────────────────────────────────────────────────────────────────


class RankPreparation(TransformerMixin, BaseEstimator):
    """Columns as ranks and steps, each with mean 0 over the training rows.

    A number becomes its mid-rank u among the training rows, between −1 and 1 (linear between about `knots`
    training values; what lies beyond the ends counts as the end), and the parabola (3u² − 1) / 2, both
    divided by their standard deviation. Ranks take the long tails of money, a parabola lets both ends be
    riskier than the middle. A code becomes one column a category met in training, 0 or 1 less the
    category's share.

    A category never met in training is read as the nearest one that was (the lower of two equally near):
    codes are numbers with an order, and a delay of four months is best read as the longest one seen. A
    number that was the same for every training row adds nothing.

    Args:
        code_columns: positions of the coded columns.
        knots: training values kept for each number.

    Attributes:
        origin_: (m,) int, the input column that each of the m output columns is computed from.
    """

    def __init__(self, code_columns: Sequence[int] = (), knots: int = KNOTS) -> None:
        self.code_columns = code_columns
        self.knots = knots

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002  (a pipeline hands y over)
        """Learn ranks and categories of X (n, p) float64; y is not used."""
        X = validate_data(self, X, dtype=np.float64)
        codes = set(self.code_columns)
        numbers = [j for j in range(X.shape[1]) if j not in codes]
        self.curves_ = [_rank_curve(X[:, j], self.knots) for j in numbers]
        self.categories_ = [np.unique(X[:, j]) for j in self.code_columns]
        sizes = [len(categories) for categories in self.categories_]
        coded = np.repeat(np.asarray(self.code_columns, dtype=int), sizes)
        self.origin_ = np.concatenate([np.repeat(numbers, 2), coded]).astype(int)
        self.mean_, self.scale_ = np.zeros(len(self.origin_)), np.ones(len(self.origin_))
        columns = self.transform(X)
        self.mean_, deviation = columns.mean(axis=0), columns.std(axis=0)
        # Codes keep their unit: a rare category divided by its deviation would outweigh the penalty.
        varied = (np.arange(len(deviation)) < 2 * len(numbers)) & (deviation > 1e-9)
        self.scale_ = np.where(varied, deviation, 1.0)
        return self

    def transform(self, X: Any) -> Floats:
        """(n, m) float64, columns as in `origin_`, each contiguous in memory."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        columns = np.empty((len(X), len(self.origin_)), order="F")
        for position, column in enumerate(self._raw_columns(X)):
            # One column at a time stays in the processor's cache.
            np.subtract(column, self.mean_[position], out=columns[:, position])
            columns[:, position] /= self.scale_[position]
        return columns

    def _raw_columns(self, X: Floats) -> Iterator[NDArray[Any]]:
        for position, (knots, ranks) in enumerate(self.curves_):
            rank = np.interp(X[:, self.origin_[2 * position]], knots, ranks)
            yield rank
            yield 1.5 * rank * rank - 0.5
        for column, categories in zip(self.code_columns, self.categories_, strict=True):
            met = _nearest(categories, X[:, column])
            yield from ((met == position).astype(np.float64) for position in range(len(categories)))


def _rank_curve(values: Floats, knots: int) -> tuple[Floats, Floats]:
    """Training values, increasing, and their mid-ranks between −1 and 1; both ends are kept."""
    distinct, counts = np.unique(values, return_counts=True)
    rank = 2 * (np.cumsum(counts) - counts / 2) / len(values) - 1
    spread = np.searchsorted(rank, np.linspace(-1, 1, knots))
    kept = np.unique(np.concatenate([[0], np.minimum(spread, len(distinct) - 1)]))
    return distinct[kept], rank[kept]


def _nearest(categories: Floats, values: Floats) -> NDArray[np.int64]:
    return np.searchsorted((categories[:-1] + categories[1:]) / 2, values, side="left")
