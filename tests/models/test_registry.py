import subprocess
import sys

import numpy as np
import pytest

from models.features import CATEGORICAL_INDICES
from models.registry import MODELS, raw_score


def clients(rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = (rng.random(rows) < 0.3).astype(int)
    X = rng.normal(size=(rows, 23)) * 1000
    X[:, CATEGORICAL_INDICES] = rng.integers(0, 3, (rows, len(CATEGORICAL_INDICES)))
    X[:, 5] += 3 * y
    return X, y


def build(name: str):
    model = MODELS[name].build(3)
    return model.set_params(epochs=2) if "epochs" in model.get_params() else model


def test_the_names_and_kinds():
    assert {name: spec.kind for name, spec in MODELS.items()} == {
        "logistic": "classifier",
        "logistic_smote": "classifier",
        "gradient_boosting": "classifier",
        "vae_anomaly": "anomaly",
        "vae_supervised": "classifier",
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
    assert spec.build(1) is not spec.build(1)
    assert 11 in [value for key, value in spec.build(11).get_params().items() if key.endswith("random_state")]


@pytest.mark.parametrize("name", ["vae_anomaly", "vae_supervised"])
def test_the_vae_knows_which_columns_are_codes(name):
    assert MODELS[name].build(0).categorical_features == list(CATEGORICAL_INDICES)


def test_higher_is_riskier_for_both_kinds():
    X, y = clients()
    classifier, detector = build("logistic").fit(X, y), build("vae_anomaly").fit(X, y)
    assert np.array_equal(raw_score(classifier, X), classifier.predict_proba(X)[:, 1])
    assert np.array_equal(raw_score(detector, X), -detector.score_samples(X))
