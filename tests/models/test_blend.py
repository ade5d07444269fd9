import numpy as np
import pytest
from scipy.special import expit
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.utils.estimator_checks import parametrize_with_checks

from creditflow.errors import TrainingRefused
from models.blend import BlendClassifier, blend_probabilities, combine, log_odds
from models.vae import VAEClassifier


def members() -> dict:
    vae = VAEClassifier(
        hidden_units=8, decoder_units=4, latent_dim=2, epochs=2, batch_size=32, random_state=0
    )
    return {"vae_supervised": vae, "bayes": GaussianNB()}


def data(rows: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 3))
    return X, (X[:, 0] + rng.normal(size=rows) > 0.5).astype(int)


@parametrize_with_checks([BlendClassifier({"logistic": LogisticRegression(), "bayes": GaussianNB()})])
def test_scikit_learn_contract(estimator, check):
    check(estimator)


def test_mean_of_log_odds_by_hand():
    assert combine([np.array([0.0, 3.0]), np.array([2.0, -1.0])]).tolist() == [1.0, 1.0]
    # Odds of 1 and 9 have the geometric mean 3.
    assert blend_probabilities([np.array([0.5]), np.array([0.9])]) == pytest.approx([0.75])
    with pytest.raises(ValueError, match="at least one member"):
        combine([])


@pytest.mark.parametrize("probability", [0.0, 1e-300, 1.0])
def test_a_probability_of_zero_or_one_has_finite_log_odds(probability):
    assert np.isfinite(log_odds(np.array([probability]))).all()


def test_fit_trains_clones_and_scores_are_the_mean_of_theirs():
    X, y = data()
    given = members()
    blend = BlendClassifier(given).fit(X, y)
    assert not hasattr(given["bayes"], "classes_")
    alone = [member.fit(X, y).predict_proba(X)[:, 1] for member in members().values()]
    expected = np.mean([np.log(p / (1 - p)) for p in alone], axis=0)
    assert blend.decision_function(X) == pytest.approx(expected, rel=1e-9)
    assert blend.predict_proba(X)[:, 1] == pytest.approx(expit(expected))
    assert np.array_equal(blend.predict(X), (expected > 0).astype(int))


def test_members_scores_give_the_blend_s_to_the_last_digit():
    X, y = data()
    blend = BlendClassifier(members()).fit(X, y)
    known = [member.predict_proba(X)[:, 1] for member in blend.estimators_.values()]
    assert np.array_equal(blend_probabilities(known), blend.predict_proba(X)[:, 1])


def test_fitted_members_are_taken_as_they_are():
    X, y = data()
    fitted = {name: member.fit(X, y) for name, member in members().items()}
    blend = BlendClassifier.from_fitted(fitted)
    assert all(blend.estimators_[name] is fitted[name] for name in fitted)
    assert list(blend.estimators_) == ["vae_supervised", "bayes"]
    trained = BlendClassifier(members()).fit(X, y)
    assert np.array_equal(blend.decision_function(X), trained.decision_function(X))


def test_a_vae_without_weight_of_classes_keeps_the_mean_probability():
    X, y = data(2_000)
    blend = BlendClassifier({"a": LogisticRegression(), "b": LogisticRegression(C=0.1)}).fit(X, y)
    assert blend.predict_proba(X)[:, 1].mean() == pytest.approx(y.mean(), abs=0.01)


def test_members_that_do_not_belong_together_are_refused():
    X, y = data()
    one = GaussianNB().fit(X, y)
    with pytest.raises(ValueError, match=r"same labels: one knows \[0, 1\], two knows \[1, 2\]"):
        BlendClassifier.from_fitted({"one": one, "two": GaussianNB().fit(X, y + 1)})
    with pytest.raises(ValueError, match="same columns: one takes 3, two takes 2"):
        BlendClassifier.from_fitted({"one": one, "two": GaussianNB().fit(X[:, :2], y)})
    with pytest.raises(NotFittedError):
        BlendClassifier.from_fitted({"one": one, "two": GaussianNB()})


@pytest.mark.parametrize("make", [lambda e: BlendClassifier(e).fit(*data()), BlendClassifier.from_fitted])
def test_a_blend_of_nothing_is_refused(make):
    with pytest.raises(ValueError, match="at least one member"):
        make({})


def test_one_class_is_refused():
    X, _ = data()
    with pytest.raises(TrainingRefused, match="training of BlendClassifier"):
        BlendClassifier(members()).fit(X, np.zeros(len(X)))
