import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from models.calibration import PlattCalibrator


def sample(rows=4000, base=-1.5, seed=3):
    rng = np.random.default_rng(seed)
    margin = base + rng.normal(size=rows)
    return margin, (rng.random(rows) < expit(margin)).astype(int)


def test_the_curve_is_platts_maximum_likelihood():
    margin, y = sample(600)
    positives, negatives = y.sum(), (1 - y).sum()
    target = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(ab):
        line = ab[0] * margin + ab[1]
        return -(target * log_expit(line) + (1 - target) * log_expit(-line)).sum()

    a, b = minimize(loss, [1.0, 0.0], method="BFGS", options={"gtol": 1e-8}).x
    fitted = PlattCalibrator("logit").fit(expit(margin), y).predict(expit(margin))
    np.testing.assert_allclose(fitted, expit(a * margin + b), atol=1e-6)


def test_a_true_probability_is_left_alone():
    margin, y = sample(200_000)
    shifted = PlattCalibrator().fit(expit(margin), y).predict(expit(margin))
    np.testing.assert_allclose(shifted, expit(margin), atol=0.01)


@pytest.mark.parametrize("transform", ["logit", "asinh"])
def test_mean_pd_is_the_base_rate_on_the_calibration_rows(transform):
    margin, y = sample()
    score = expit(margin + 2) if transform == "logit" else np.exp(2 * margin)
    pd = PlattCalibrator(transform).fit(score, y).predict(score)
    # Platt's smoothed targets move the mean by less than two rows.
    assert pd.mean() == pytest.approx(y.mean(), abs=2 / y.size)


def test_smote_is_brought_back_to_the_base_rate():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(3000, 4))
    y = (rng.random(3000) < expit(-1.6 + X[:, 0])).astype(int)
    model = make_pipeline(StandardScaler(), SMOTE(random_state=0), LogisticRegression()).fit(
        X[:2000], y[:2000]
    )
    raw = model.predict_proba(X[2000:])[:, 1]
    pd = PlattCalibrator().fit(raw, y[2000:]).predict(raw)
    assert raw.mean() > y[2000:].mean() + 0.15
    assert pd.mean() == pytest.approx(y[2000:].mean(), abs=2e-3)


def test_extreme_anomalies_do_not_flatten_the_curve():
    margin, y = sample()
    score = np.exp(margin)
    wild = np.r_[score, [1e9, 1e12]]
    labels = np.r_[y, [0, 1]]
    calm = PlattCalibrator("asinh").fit(score, y).predict(score)
    stormy = PlattCalibrator("asinh").fit(wild, labels).predict(score)
    assert calm.std() > 0.05
    np.testing.assert_allclose(stormy, calm, atol=0.03)


finite = st.floats(-1e12, 1e12)


@given(st.lists(st.tuples(finite, st.booleans()), min_size=4, max_size=40), st.lists(finite, min_size=2))
@settings(max_examples=100, deadline=None)
def test_monotone_and_inside_the_unit_interval(rows, probes):
    score, y = np.array([s for s, _ in rows]), np.array([int(b) for _, b in rows])
    y[:2] = (0, 1)
    pd = PlattCalibrator("asinh").fit(score, y).predict(np.sort(probes))
    assert (np.diff(pd) >= 0).all()
    assert ((pd > 0) & (pd < 1)).all()


def test_a_score_that_ranks_the_wrong_way_gives_the_base_rate():
    margin, y = sample()
    calibrator = PlattCalibrator().fit(1 - expit(margin), y)
    pd = calibrator.predict(expit(margin))
    assert calibrator.is_flat
    assert np.unique(pd).size == 1
    assert pd[0] == pytest.approx(y.mean(), abs=1e-3)


@pytest.mark.parametrize("score", [[3.0, 3.0, 3.0, 3.0], [0.0, 0.0, 0.0, 0.0]])
def test_a_score_that_says_nothing_gives_the_base_rate(score):
    calibrator = PlattCalibrator("asinh").fit(score, [0, 1, 0, 1])
    assert calibrator.predict([score[0]])[0] == pytest.approx(0.5)


def test_certain_scores_and_separable_rows_stay_finite():
    calibrator = PlattCalibrator().fit([0.0, 0.0, 1.0, 1.0], [0, 0, 1, 1])
    low, high = calibrator.predict([0.0, 1.0])
    # Platt's targets for two and two: 3/4 and 1/4.
    assert (low, high) == (pytest.approx(0.25, abs=1e-6), pytest.approx(0.75, abs=1e-6))


def test_state_survives_json_to_the_last_bit():
    margin, y = sample()
    score = np.exp(margin)
    calibrator = PlattCalibrator("asinh").fit(score, y)
    again = PlattCalibrator.from_state(json.loads(json.dumps(calibrator.to_state())))
    assert (again.predict(score) == calibrator.predict(score)).all()


@pytest.mark.parametrize(
    ("score", "y", "message"),
    [
        ([0.1, 0.2], [0, 0], "both classes"),
        ([], [], "both classes"),
        ([0.1, np.nan], [0, 1], "finite"),
        ([0.1], [0, 1], "finite"),
    ],
)
def test_unusable_rows_are_refused(score, y, message):
    with pytest.raises(ValueError, match=message):
        PlattCalibrator().fit(score, y)


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="not fitted"):
        PlattCalibrator().predict([0.1])
    with pytest.raises(ValueError, match="transform"):
        PlattCalibrator("probit")
    with pytest.raises(ValueError, match="fields"):
        PlattCalibrator.from_state({"transform": "logit"})
    with pytest.raises(ValueError, match="not finite"):
        PlattCalibrator().fit([0.1, 0.3], [0, 1]).predict([np.nan])


def test_logit_reads_probabilities():
    margin, y = sample()
    calibrator = PlattCalibrator().fit(expit(margin), y)
    line = logit(calibrator.predict(expit(margin)))
    assert np.polyfit(margin, line, 1, full=True)[1] == pytest.approx(0, abs=1e-12)
