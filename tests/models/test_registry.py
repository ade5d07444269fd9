import subprocess
import sys

import numpy as np
import pytest

from models.features import FeatureSet
from models.registry import MODELS, raw_score

FEATURES = FeatureSet()


def clients(rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = (rng.random(rows) < 0.3).astype(int)
    X = rng.normal(size=(rows, len(FEATURES.names))) * 1000
    X[:, FEATURES.code_indices] = rng.integers(0, 3, (rows, len(FEATURES.code_indices)))
    X[:, 5] += 3 * y
    return X, y


def build(name: str):
    model = MODELS[name].build(3, FEATURES)
    for part in model.estimators.values() if MODELS[name].members else [model]:
        part.set_params(**{key: 2 for key in part.get_params() if key == "epochs"})
    return model


def test_the_names_and_kinds():
    assert {name: spec.kind for name, spec in MODELS.items()} == {
        "logistic": "classifier",
        "logistic_smote": "classifier",
        "gradient_boosting": "classifier",
        "vae_anomaly": "anomaly",
        "vae_ratio": "classifier",
        "vae_supervised": "classifier",
        "blend": "classifier",
    }
    assert all(spec.name == name and spec.title for name, spec in MODELS.items())


def test_listing_models_loads_no_heavy_library():
    heavy = {"torch", "sklearn", "imblearn", "scipy"}
    code = f"import sys, models.registry; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", MODELS)
def test_every_model_fits_scores_and_repeats(name):
    X, y = clients()
    first, second = (raw_score(build(name).fit(X, y), X) for _ in range(2))
    assert first.shape == (300,)
    assert first.dtype == np.float64
    assert np.isfinite(first).all()
    assert np.array_equal(first, second)


@pytest.mark.parametrize("name", MODELS)
def test_build_gives_a_fresh_unfitted_model_with_its_seed(name):
    spec = MODELS[name]
    assert spec.build(1, FEATURES) is not spec.build(1, FEATURES)
    model = spec.build(11, FEATURES)
    for part in model.estimators.values() if spec.members else [model]:
        seeds = [value for key, value in part.get_params().items() if key.endswith("random_state")]
        assert 11 in seeds


@pytest.mark.parametrize("policy", ["unprotected", "all"])
@pytest.mark.parametrize("name", ["vae_anomaly", "vae_ratio", "vae_supervised"])
def test_the_vae_knows_which_columns_are_codes(name, policy):
    features = FeatureSet(policy)
    assert MODELS[name].build(0, features).categorical_features == list(features.code_indices)


def test_members_of_a_blend_stand_before_it():
    names = list(MODELS)
    for spec in MODELS.values():
        assert all(names.index(member) < names.index(spec.name) for member in spec.members)


def test_higher_is_riskier_for_both_kinds():
    X, y = clients()
    classifier, detector = build("logistic").fit(X, y), build("vae_anomaly").fit(X, y)
    assert np.array_equal(raw_score(classifier, X), classifier.predict_proba(X)[:, 1])
    assert np.array_equal(raw_score(detector, X), detector.anomaly_score(X))
    assert np.array_equal(raw_score(detector, X), -detector.score_samples(X))
