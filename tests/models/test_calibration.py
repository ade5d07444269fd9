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

from models.calibration import (
    CALIBRATORS,
    BetaCalibrator,
    Calibrator,
    CalibratorChoice,
    IsotonicCalibrator,
    NoCalibrator,
    PlattCalibrator,
    calibrator_from_state,
    choose_calibrator,
    ece_noise_floor,
)
from models.metrics import expected_calibration_error

MAKERS = {
    "none": NoCalibrator,
    "platt": PlattCalibrator,
    "platt, anomaly": lambda: PlattCalibrator("asinh"),
    "beta": BetaCalibrator,
    "isotonic": IsotonicCalibrator,
}
CURVES = [name for name in MAKERS if name != "none"]


def sample(rows=4000, base=-1.5, seed=3):
    rng = np.random.default_rng(seed)
    margin = base + rng.normal(size=rows)
    return margin, (rng.random(rows) < expit(margin)).astype(int)


def test_logit_reads_probabilities():
    margin, y = sample()
    calibrator = PlattCalibrator().fit(expit(margin), y)
    line = logit(calibrator.predict(expit(margin)))
    assert np.polyfit(margin, line, 1, full=True)[1] == pytest.approx(0, abs=1e-12)


def test_an_unknown_transform_is_refused():
    with pytest.raises(ValueError, match="transform"):
        PlattCalibrator("probit")


def test_mean_pd_is_the_base_rate_for_anomaly_scores():
    margin, y = sample()
    score = np.exp(2 * margin)
    assert PlattCalibrator("asinh").fit(score, y).predict(score).mean() == pytest.approx(
        y.mean(), abs=2 / y.size
    )


# ── Every calibrator ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", MAKERS)
def test_state_survives_json_to_the_last_bit(name):
    margin, y = sample()
    score = expit(margin)
    calibrator = MAKERS[name]().fit(score, y)
    state = json.loads(json.dumps(calibrator.to_state(), allow_nan=False))
    again = calibrator_from_state(state)
    assert type(again) is type(calibrator)
    assert again.to_state() == calibrator.to_state()
    assert (again.predict(score) == calibrator.predict(score)).all()


@pytest.mark.parametrize("name", MAKERS)
def test_a_pd_is_the_same_alone_and_among_many(name):
    margin, y = sample(1_003)
    score = expit(margin)
    calibrator = MAKERS[name]().fit(score, y)
    together = calibrator.predict(score)
    assert [calibrator.predict(score[row : row + 1])[0] for row in range(0, 1_003, 7)] == together[
        ::7
    ].tolist()


probability = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1e-300, 1e-9, 0.2, 0.5, 1 - 1e-12, 1.0]))


@pytest.mark.parametrize("name", MAKERS)
@given(
    rows=st.lists(st.tuples(probability, st.booleans()), min_size=4, max_size=40),
    probes=st.lists(probability, min_size=2),
)
@settings(max_examples=60, deadline=None)
def test_monotone_and_inside_the_unit_interval_for_probabilities(name, rows, probes):
    score, y = np.array([s for s, _ in rows]), np.array([int(b) for _, b in rows])
    y[:2] = (0, 1)
    pd = MAKERS[name]().fit(score, y).predict(np.sort(probes))
    assert (np.diff(pd) >= -1e-15).all()
    assert ((pd > 0) & (pd < 1)).all()


@pytest.mark.parametrize("name", ["platt", "beta", "isotonic"])
def test_mean_pd_is_the_base_rate_on_the_calibration_rows(name):
    margin, y = sample()
    score = expit(margin + 2)
    pd = MAKERS[name]().fit(score, y).predict(score)
    # Platt's smoothed targets move the mean by less than two rows.
    assert pd.mean() == pytest.approx(y.mean(), abs=2 / y.size)


@pytest.mark.parametrize("name", ["platt", "beta", "isotonic"])
def test_a_true_probability_is_left_alone(name):
    margin, y = sample(200_000)
    score = expit(margin)
    found = MAKERS[name]().fit(score, y).predict(score)
    usual = np.abs(margin + 1.5) < 2
    np.testing.assert_allclose(found[usual], score[usual], atol=0.04 if name == "isotonic" else 0.015)


@pytest.mark.parametrize("name", CURVES)
def test_a_score_that_ranks_the_wrong_way_gives_the_base_rate(name):
    margin, y = sample()
    calibrator = MAKERS[name]().fit(1 - expit(margin), y)
    pd = calibrator.predict(1 - expit(margin))
    if name == "isotonic":
        # A few rows at the ends may still stand in the right order.
        assert np.ptp(np.quantile(pd, [0.01, 0.99])) < 0.01
        return
    assert calibrator.is_flat
    assert np.unique(pd).size == 1
    assert pd[0] == pytest.approx(y.mean(), abs=1e-3)


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_score_that_says_nothing_gives_the_base_rate(name, value):
    calibrator = MAKERS[name]().fit([value] * 4, [0, 1, 0, 1])
    assert calibrator.is_flat
    assert calibrator.predict([value, 0.9]).tolist() == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("name", CURVES)
def test_certain_scores_and_separable_rows_stay_finite(name):
    low, high = MAKERS[name]().fit([0.0, 0.0, 1.0, 1.0], [0, 0, 1, 1]).predict([0.0, 1.0])
    # Platt's targets for two and two: 1/4 and 3/4.
    assert (low, high) == (pytest.approx(0.25, abs=1e-6), pytest.approx(0.75, abs=1e-6))


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(
    ("score", "y", "message"),
    [
        ([0.1, 0.2], [0, 0], "both classes"),
        ([], [], "both classes"),
        ([0.1, np.nan], [0, 1], "finite"),
        ([0.1], [0, 1], "finite"),
        ([0.1, 0.2], [0, 2], "neither 0 nor 1"),
        ([0.1, 0.2], [0, np.nan], "neither 0 nor 1"),
    ],
)
def test_unusable_rows_are_refused(name, score, y, message):
    with pytest.raises(ValueError, match=message):
        MAKERS[name]().fit(score, y)


@pytest.mark.parametrize("name", MAKERS)
def test_misuse_is_refused(name):
    with pytest.raises(ValueError, match="not fitted"):
        MAKERS[name]().predict([0.1])
    calibrator = MAKERS[name]().fit([0.1, 0.3], [0, 1])
    with pytest.raises(ValueError, match="not finite"):
        calibrator.predict([np.nan])
    state = calibrator.to_state()
    with pytest.raises(ValueError, match="fields"):
        calibrator_from_state({field: state[field] for field in state if field != "rows"})
    with pytest.raises(ValueError, match="fields"):
        calibrator_from_state(state | {"temperature": 1})


@pytest.mark.parametrize("name", ["none", "beta"])
def test_what_is_no_probability_is_refused(name):
    with pytest.raises(ValueError, match="no probability"):
        MAKERS[name]().fit([0.1, 1.3], [0, 1])
    with pytest.raises(ValueError, match="no probability"):
        MAKERS[name]().fit([0.1, 0.3], [0, 1]).predict([-0.2])


@pytest.mark.parametrize("state", [{}, {"name": "spline"}, {"slope": 1.0}])
def test_an_unknown_calibrator_is_refused(state):
    with pytest.raises(ValueError, match="among none, platt, beta, isotonic"):
        calibrator_from_state(state)


def test_a_state_of_another_calibrator_is_refused():
    state = BetaCalibrator().fit([0.1, 0.3], [0, 1]).to_state()
    with pytest.raises(ValueError, match="expected isotonic"):
        IsotonicCalibrator.from_state(state)


def test_none_changes_nothing_but_certainty():
    found = NoCalibrator().fit([0.1, 0.3], [0, 1]).predict([0.0, 0.123456789, 1.0])
    assert found[1] == 0.123456789
    assert found[[0, 2]].tolist() == pytest.approx([expit(-20), expit(20)], rel=1e-12)


# ── Beta ────────────────────────────────────────────────────────────────────────────────────────


def beta_by_hand(score, y, bounds):
    """Maximum likelihood of a, b, c within bounds, with Platt's targets, by a general minimiser."""
    positives, negatives = y.sum(), (1 - y).sum()
    target = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(abc):
        line = abc[0] * np.log(score) - abc[1] * np.log(1 - score) + abc[2]
        return -(target * log_expit(line) + (1 - target) * log_expit(-line)).mean()

    return minimize(loss, [1.0, 1.0, 0.0], bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9}).x


def test_the_beta_curve_is_the_paper_s_maximum_likelihood():
    margin, y = sample(3_000)
    # Overconfident at the upper end only: no logistic curve in the logit undoes it.
    score = expit(margin) ** 0.6
    a, b, c = beta_by_hand(score, y, [(None, None)] * 3)
    found = BetaCalibrator().fit(score, y)
    assert min(a, b) > 0
    assert (found.a, found.b, found.c) == (
        pytest.approx(a, abs=2e-3),
        pytest.approx(b, abs=2e-3),
        pytest.approx(c, abs=2e-3),
    )
    assert found.predict([0.3])[0] == pytest.approx(expit(a * np.log(0.3) - b * np.log(0.7) + c), abs=1e-4)


def test_the_beta_curve_finds_the_parameters_it_was_drawn_from():
    rng = np.random.default_rng(8)
    score = rng.uniform(0.02, 0.98, 200_000)
    truth = expit(0.5 * np.log(score) - 1.7 * np.log(1 - score) - 1)
    found = BetaCalibrator().fit(score, (rng.random(score.size) < truth).astype(int))
    assert (found.a, found.b, found.c) == (
        pytest.approx(0.5, abs=0.05),
        pytest.approx(1.7, abs=0.05),
        pytest.approx(-1, abs=0.05),
    )


@pytest.mark.parametrize(("a", "b", "held"), [(-0.6, 1.5, "a"), (1.5, -0.6, "b")])
def test_a_negative_coefficient_is_set_to_zero_and_the_other_fitted_alone(a, b, held):
    rng = np.random.default_rng(4)
    score = rng.uniform(0.02, 0.98, 20_000)
    truth = expit(a * np.log(score) - b * np.log(1 - score))
    y = (rng.random(score.size) < truth).astype(int)
    found = BetaCalibrator().fit(score, y)
    assert getattr(found, held) == 0.0
    bounds = [(0, 0), (0, None)] if held == "a" else [(0, None), (0, 0)]
    by_hand = beta_by_hand(score, y, [*bounds, (None, None)])
    assert (found.a, found.b, found.c) == tuple(pytest.approx(value, abs=2e-3) for value in by_hand)


# ── Isotonic ────────────────────────────────────────────────────────────────────────────────────


def pooled(y: list[float]) -> list[float]:
    """Pool adjacent violators, as one writes it down: merge two blocks while the left mean is larger."""
    blocks: list[list[float]] = []
    for value in y:
        blocks.append([value])
        while len(blocks) > 1 and np.mean(blocks[-2]) >= np.mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    return [float(np.mean(block)) for block in blocks for _ in block]


def test_isotonic_by_hand():
    # Targets with three defaulters among six: 4/5 and 1/5. Outcomes 0 1 0 1 0 1 in the order of the score:
    # the pairs (1, 0) and (1, 0) are pooled to 1/2.
    curve = IsotonicCalibrator().fit([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0, 1, 0, 1, 0, 1])
    np.testing.assert_allclose(curve.predict([0.1, 0.2, 0.3, 0.5, 0.6]), [0.2, 0.5, 0.5, 0.5, 0.8])
    # Half-way between two steps, and beyond the ends.
    np.testing.assert_allclose(curve.predict([0.15, 0.55, 0.0, 1.0, 9.0]), [0.35, 0.65, 0.2, 0.8, 0.8])


def test_isotonic_counts_equal_scores_as_one_point():
    # At 0.2 one of two defaulted: their mean, 1/2, whatever the order of the rows.
    for y in ([0, 0, 1, 1], [0, 1, 0, 1]):
        curve = IsotonicCalibrator().fit([0.1, 0.2, 0.2, 0.3], y)
        np.testing.assert_allclose(curve.predict([0.1, 0.2, 0.3]), [0.25, 0.5, 0.75])


@given(st.lists(st.booleans(), min_size=2, max_size=30))
@settings(max_examples=80, deadline=None)
def test_isotonic_is_pool_adjacent_violators(flags):
    y = np.array(flags, dtype=int)
    y[:2] = (1, 0)
    positives, negatives = int(y.sum()), int((1 - y).sum())
    target = [(positives + 1) / (positives + 2) if flag else 1 / (negatives + 2) for flag in y]
    score = np.arange(y.size) / 7 - 1
    np.testing.assert_allclose(IsotonicCalibrator().fit(score, y).predict(score), pooled(target), atol=1e-12)


# ── Choice ──────────────────────────────────────────────────────────────────────────────────────


def choose(score, y, **settings):
    return choose_calibrator(score, y, **({"kind": "classifier", "seed": 7} | settings))


def test_a_calibrated_score_is_nearly_always_left_alone():
    chosen = [choose(expit(margin), y).chosen for margin, y in (sample(seed=s) for s in range(12))]
    assert chosen.count("none") >= 10


def smote_scores(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(2 * rows, 4))
    y = (rng.random(2 * rows) < expit(-1.6 + X[:, 0])).astype(int)
    model = make_pipeline(StandardScaler(), SMOTE(random_state=0), LogisticRegression())
    return model.fit(X[:rows], y[:rows]).predict_proba(X[rows:])[:, 1], y[rows:]


@pytest.mark.parametrize("seed", range(4))
def test_none_is_rejected_after_smote_and_the_mean_pd_becomes_the_base_rate(seed):
    score, y = smote_scores(3_000, seed)
    choice = choose(score, y)
    none = choice.table["none"]
    assert choice.chosen in {"platt", "beta"}
    assert none.mean_pd > y.mean() + 0.15
    assert none.excess > 10 * none.standard_error
    assert choice.calibrator.predict(score).mean() == pytest.approx(y.mean(), abs=2 / y.size)
    assert "none is worse by" in choice.reason


def test_a_mean_pd_that_is_three_standard_errors_off_is_seen():
    # At 4,000 clients 0.15 in the log-odds moves the mean PD by 0.022, three and a half standard errors.
    chosen = [choose(expit(margin + 0.15), y).chosen for margin, y in (sample(seed=s) for s in range(10))]
    assert chosen.count("none") <= 3


def test_a_bend_that_no_logistic_curve_follows_is_given_to_beta_or_isotonic():
    rng = np.random.default_rng(5)
    score = rng.uniform(0.02, 0.98, 10_000)
    truth = expit(0.2 * np.log(score) - 2 * np.log(1 - score) - 1)
    choice = choose(score, (rng.random(score.size) < truth).astype(int))
    assert choice.chosen == "beta"
    assert choice.table["platt"].excess > choice.table["platt"].standard_error


def test_steps_are_given_to_isotonic():
    rng = np.random.default_rng(6)
    score = rng.uniform(0.01, 0.99, 10_000)
    risk = np.select([score < 0.3, score < 0.6], [0.05, 0.4], 0.45)
    assert choose(score, (rng.random(score.size) < risk).astype(int)).chosen == "isotonic"


def test_an_anomaly_score_takes_platt_or_isotonic_only():
    rng = np.random.default_rng(3)
    score = np.sinh(rng.normal(size=4_000))
    y = (rng.random(score.size) < expit(-1.3 + np.arcsinh(score))).astype(int)
    choice = choose(score, y, kind="anomaly")
    assert list(choice.table) == ["platt", "isotonic"]
    assert choice.chosen == "platt"
    assert choice.calibrator.transform == "asinh"


def test_figures_are_those_of_cross_fitted_predictions():
    score, y = smote_scores(1_000, 1)
    table = choose(score, y).table
    raw = np.clip(score, expit(-20), expit(20))
    assert table["none"].brier == pytest.approx(np.mean((score - y) ** 2))
    assert table["none"].ece == pytest.approx(expected_calibration_error(y, raw))
    assert table["none"].mean_pd == pytest.approx(score.mean())
    lowest = min(candidate.brier for candidate in table.values())
    for candidate in table.values():
        assert candidate.excess == pytest.approx(candidate.brier - lowest, abs=1e-12)
    # A curve held against the rows that it was fitted on would look better.
    fitted = IsotonicCalibrator().fit(score, y).predict(score)
    assert np.mean((fitted - y) ** 2) < table["isotonic"].brier


def test_the_standard_error_is_that_of_paired_differences():
    # Every score is 0.5 and three of twelve defaulted: a fold in three leaves 2 of 8, so that every curve
    # says (2 · 3/4 + 6 · 1/8) / 8 = 0.28125 on every row.
    score, y = np.full(12, 0.5), np.array([1, 1, 1] + [0] * 9)
    table = choose(score, y, folds=3).table
    excess = (0.5 - y) ** 2 - (0.28125 - y) ** 2
    assert table["platt"].brier == pytest.approx(np.mean((0.28125 - y) ** 2))
    assert table["none"].excess == pytest.approx(excess.mean())
    assert table["none"].standard_error == pytest.approx(excess.std(ddof=1) / np.sqrt(12))
    assert table["platt"].excess == table["platt"].standard_error == 0.0


def test_the_choice_is_repeatable_and_json():
    score, y = smote_scores(1_000, 3)
    first, second = choose(score, y), choose(score, y)
    assert first.to_state() == second.to_state()
    assert first.calibrator.to_state() == second.calibrator.to_state()
    state = json.loads(json.dumps(first.to_state(), allow_nan=False))
    assert state["chosen"] == first.chosen
    assert list(state["candidates"]) == ["none", "platt", "beta", "isotonic"]
    assert set(state["candidates"]["none"]) == {"brier", "ece", "mean_pd", "excess", "standard_error"}
    assert (state["rows"], state["defaulters"], state["folds"]) == (1_000, int(y.sum()), 5)
    assert state["observed_rate"] == pytest.approx(y.mean())


def test_a_choice_survives_json_to_the_last_bit():
    score, y = smote_scores(1_000, 3)
    choice = choose(score, y)
    again = CalibratorChoice.from_state(json.loads(json.dumps(choice.to_state(), sort_keys=True)))
    assert again.to_state() == choice.to_state()
    assert list(again.table) == ["none", "platt", "beta", "isotonic"]
    assert again.table == choice.table
    assert (again.calibrator.predict(score) == choice.calibrator.predict(score)).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"calibrator": None}, "no state of a calibrator choice: AttributeError"),
        ({"candidates": {"none": {}}}, "no state of a calibrator choice: TypeError"),
        ({"chosen": "isotonic"}, "contradict"),
        ({"extra": 1}, "contradict"),
        ({"candidates": {"spline": {}}}, "contradict"),
    ],
)
def test_a_damaged_choice_is_refused(changes, message):
    score, y = smote_scores(200, 3)
    state = choose(score, y).to_state()
    with pytest.raises(ValueError, match=message):
        CalibratorChoice.from_state(state | changes)
    with pytest.raises(ValueError, match="KeyError: 'rows'"):
        CalibratorChoice.from_state({field: state[field] for field in state if field != "rows"})


def test_few_defaulters_make_fewer_folds():
    score = np.linspace(0.05, 0.9, 30)
    y = np.zeros(30, dtype=int)
    y[[20, 25, 29]] = 1
    assert choose(score, y).folds == 3
    y[[20, 25]] = 0
    with pytest.raises(ValueError, match="at least two rows of each class are needed, found 1"):
        choose(score, y)


def test_a_classifier_must_give_probabilities():
    with pytest.raises(ValueError, match="no probability"):
        choose([0.1, 3.0, 0.2, 4.0], [0, 1, 0, 1])


# ── Noise floor ─────────────────────────────────────────────────────────────────────────────────


def test_the_noise_floor_at_nine_thousand_clients():
    rng = np.random.default_rng(0)
    # PDs with the spread and the base rate of the UCI data's best models.
    pd = expit(-1.55 + 1.15 * rng.standard_t(6, size=9_000))
    assert ece_noise_floor(pd, seed=1) == pytest.approx(0.011, abs=0.0015)


def test_the_noise_floor_is_that_of_half_normal_bin_errors():
    pd = np.linspace(0.05, 0.6, 5_000)
    # In each of ten bins the sum of outcomes misses its mean by a normal error; E|N(0, s²)| = s·√(2/π).
    errors = [np.sqrt((part * (1 - part)).sum() * 2 / np.pi) for part in np.split(pd, 10)]
    assert ece_noise_floor(pd, seed=3, draws=400) == pytest.approx(sum(errors) / pd.size, rel=0.05)


def test_the_noise_floor_of_certain_pds_is_zero_and_the_seed_decides():
    assert ece_noise_floor([0.0, 0.0, 1.0], seed=0) == 0.0
    pd = np.full(100, 0.3)
    assert ece_noise_floor(pd, seed=1) == ece_noise_floor(pd, seed=1) != ece_noise_floor(pd, seed=2)


@pytest.mark.parametrize(
    ("pd", "draws", "message"), [([], 5, "at least one row"), ([0.2], 0, "one draw"), ([1.2], 5, "outside")]
)
def test_a_noise_floor_of_nothing_is_refused(pd, draws, message):
    with pytest.raises(ValueError, match=message):
        ece_noise_floor(pd, seed=0, draws=draws)


def test_every_calibrator_stands_under_its_name():
    assert list(CALIBRATORS) == ["none", "platt", "beta", "isotonic"]
    assert all(issubclass(calibrator, Calibrator) for calibrator in CALIBRATORS.values())
