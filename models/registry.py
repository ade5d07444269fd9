"""The models by name: what `develop`, the artifact store and the reports share.

Importing this module costs nothing: an estimator's libraries are loaded when it is built.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from models.features import FeatureSet

Kind = Literal["classifier", "anomaly"]


@dataclass(frozen=True)
class ModelSpec:
    """One model: `build(seed, features)` gives an unfitted estimator of the feature matrix and labels 0, 1.

    `members` names the models that a blend is made of; they stand before it in the registry, and a set that
    holds them all does not fit them twice.
    """

    name: str
    title: str
    build: Callable[[int, FeatureSet], Any]
    kind: Kind
    members: tuple[str, ...] = ()


def raw_score(estimator: Any, X: np.ndarray) -> np.ndarray:
    """(n,) float64, higher is riskier: probability of class 1, or a detector's anomaly score."""
    if hasattr(estimator, "anomaly_score"):
        return estimator.anomaly_score(X)
    return estimator.predict_proba(X)[:, 1]


def _logistic(seed: int, features: FeatureSet) -> Any:
    from models.baselines import make_logistic

    return make_logistic(seed, features)


def _logistic_smote(seed: int, features: FeatureSet) -> Any:
    from models.baselines import make_logistic_smote

    return make_logistic_smote(seed, features)


def _gradient_boosting(seed: int, features: FeatureSet) -> Any:
    from models.baselines import make_gradient_boosting

    return make_gradient_boosting(seed, features)


def _vae_anomaly(seed: int, features: FeatureSet) -> Any:
    from models.anomaly import VAEAnomalyDetector, anomaly_columns, repayment_columns

    return VAEAnomalyDetector(
        columns=anomaly_columns(features),
        scored_columns=repayment_columns(features),
        categorical_features=list(features.code_indices),
        random_state=seed,
    )


def _vae_ratio(seed: int, features: FeatureSet) -> Any:
    from models.anomaly import VAELikelihoodRatio, ratio_columns

    return VAELikelihoodRatio(
        columns=ratio_columns(features),
        categorical_features=list(features.code_indices),
        random_state=seed,
    )


def _vae_supervised(seed: int, features: FeatureSet) -> Any:
    from models.vae import VAEClassifier

    # Two starts of three members rank as well as two of four, better than one of four, and score fast enough.
    return VAEClassifier(
        ensemble_size=3,
        starts=2,
        categorical_features=list(features.code_indices),
        reconstructed_features=list(features.amount_indices),
        random_state=seed,
    )


BLENDED = ("vae_supervised", "gradient_boosting")


def _blend(seed: int, features: FeatureSet) -> Any:
    from models.blend import BlendClassifier

    return BlendClassifier({name: MODELS[name].build(seed, features) for name in BLENDED})


MODELS: dict[str, ModelSpec] = {
    spec.name: spec
    for spec in (
        ModelSpec("logistic", "Logistic regression", _logistic, "classifier"),
        ModelSpec("logistic_smote", "Logistic regression after SMOTE", _logistic_smote, "classifier"),
        ModelSpec("gradient_boosting", "Histogram gradient boosting", _gradient_boosting, "classifier"),
        ModelSpec("vae_anomaly", "VAE trained on non-defaulters", _vae_anomaly, "anomaly"),
        ModelSpec("vae_ratio", "Likelihood ratio of two VAEs", _vae_ratio, "classifier"),
        ModelSpec("vae_supervised", "VAE with a classification head", _vae_supervised, "classifier"),
        ModelSpec("blend", "Blend of VAE and gradient boosting", _blend, "classifier", BLENDED),
    )
}
