"""The baselines: logistic regression as it comes, after SMOTE, and gradient-boosted trees.

Each is a pipeline of scikit-learn and imbalanced-learn on the raw (n, 23) design matrix, labels 0 and 1,
and differs from theirs in two things: it trains on one thread, and data that cannot be trained on is
refused in this project's words.
"""

from typing import Any, Self

import numpy as np
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import Pipeline
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from creditflow.errors import TrainingRefused

# SMOTE as published draws between a client and one of five neighbours (Chawla et al. 2002, JAIR 16, 4.2).
NEIGHBOURS = 5


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


def make_logistic(seed: int) -> BaselinePipeline:
    """Logistic regression on standardised columns (ridge penalty of scikit-learn's default, C = 1)."""
    return BaselinePipeline([("scale", StandardScaler()), ("classify", _logistic(seed))])


def make_logistic_smote(seed: int) -> BaselinePipeline:
    """The same after SMOTE has filled the smaller class up to the larger one; `seed` draws its clients."""
    smote = SMOTE(k_neighbors=NEIGHBOURS, random_state=seed)
    return BaselinePipeline([("scale", StandardScaler()), ("smote", smote), ("classify", _logistic(seed))])


def make_gradient_boosting(seed: int) -> BaselinePipeline:
    """Histogram gradient boosting, slow and regularised; codes are read as ordered numbers."""
    trees = HistGradientBoostingClassifier(
        learning_rate=0.02,
        max_iter=300,
        max_leaf_nodes=12,
        min_samples_leaf=80,
        l2_regularization=20.0,
        max_features=0.4,
        # Left to itself it stops early above 10,000 rows, on training rows held back in silence.
        early_stopping=False,
        random_state=seed,
    )
    return BaselinePipeline([("classify", trees)])


def _logistic(seed: int) -> LogisticRegression:
    return LogisticRegression(max_iter=1000, random_state=seed)
