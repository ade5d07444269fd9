"""The models by name: what `develop`, the artifact store and the reports share.

Importing this module costs nothing: an estimator's libraries are loaded when it is built.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from models.features import CATEGORICAL_INDICES

Kind = Literal["classifier", "anomaly"]


@dataclass(frozen=True)
class ModelSpec:
    """One model: `build(seed)` gives an unfitted estimator of the (n, 23) matrix and labels 0 and 1."""

    name: str
    title: str
    build: Callable[[int], Any]
    kind: Kind


def raw_score(estimator: Any, X: np.ndarray) -> np.ndarray:
    """(n,) float64, higher is riskier: probability of class 1, or a detector's reconstruction error."""
    if hasattr(estimator, "reconstruction_error"):
        return estimator.reconstruction_error(X)
    return estimator.predict_proba(X)[:, 1]


def _logistic(seed: int) -> Any:
    from models.baselines import make_logistic

    return make_logistic(seed)


def _logistic_smote(seed: int) -> Any:
    from models.baselines import make_logistic_smote

    return make_logistic_smote(seed)


def _gradient_boosting(seed: int) -> Any:
    from models.baselines import make_gradient_boosting

    return make_gradient_boosting(seed)


def _vae_anomaly(seed: int) -> Any:
    from models.vae import VAEAnomalyDetector

    return VAEAnomalyDetector(categorical_features=list(CATEGORICAL_INDICES), random_state=seed)


def _vae_supervised(seed: int) -> Any:
    from models.vae import VAEClassifier

    return VAEClassifier(categorical_features=list(CATEGORICAL_INDICES), random_state=seed)


MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec("logistic", "Logistic regression", _logistic, "classifier"),
        ModelSpec("logistic_smote", "Logistic regression after SMOTE", _logistic_smote, "classifier"),
        ModelSpec("gradient_boosting", "Histogram gradient boosting", _gradient_boosting, "classifier"),
        ModelSpec("vae_anomaly", "VAE trained on non-defaulters", _vae_anomaly, "anomaly"),
        ModelSpec("vae_supervised", "VAE with a classification head", _vae_supervised, "classifier"),
    )
}
