import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from models.gate import (
    CLASS_CLIENTS_MIN,
    Limits,
    Ranked,
    Sample,
    judge,
    paired_bootstrap,
    resampled,
)
from models.stability import PsiResult

STABLE = PsiResult(0.01, "stable", 5000, 4000)
NAMES = ["AUC not inferior", "AUC not lower", "Brier", "calibration", "stability"]


def clients(rows=4000, seed=0):
    """True risks and outcomes drawn from them."""
    rng = np.random.default_rng(seed)
    risk = rng.beta(1.2, 4.2, rows)
    return risk, (rng.random(rows) < risk).astype(np.int8)


def blurred(risk, by, seed=1):
    """PDs of a model that knows the risk less well, with the same mean."""
    noise = np.random.default_rng(seed).permutation(risk)
    return (1 - by) * risk + by * noise


def verdict(challenger, champion, y, psi=STABLE, limits=None):
    return judge(Sample(y, challenger, champion), psi, limits or Limits(), seed=3)


def passed(found):
    return {check.name: check.passed for check in found.checks}


# ── Verdicts ────────────────────────────────────────────────────────────────────────────────────


def test_better_model_is_promoted_and_every_check_says_why():
    risk, y = clients()
    found = verdict(risk, blurred(risk, 0.4), y)
    assert found.promoted
    assert [check.name for check in found.checks] == NAMES
    assert all(check.passed for check in found.checks)
    assert found.checks[0].low < found.checks[0].value < found.checks[0].high
    assert f"{found.checks[0].value:+.4f}" in found.reason


def test_same_model_again_is_promoted():
    risk, y = clients()
    found = verdict(risk, risk, y)
    assert found.promoted
    assert (found.checks[0].value, found.checks[0].low, found.checks[0].high) == (0, 0, 0)


def test_worse_model_is_refused_by_the_interval_and_by_the_point():
    risk, y = clients()
    found = verdict(blurred(risk, 0.5), risk, y)
    assert not found.promoted
    assert passed(found)["AUC not inferior"] is False
    assert passed(found)["AUC not lower"] is False


def test_a_little_worse_is_within_the_margin_and_still_refused():
    risk, y = clients(20_000)
    found = verdict(blurred(risk, 0.05), risk, y)
    assert not found.promoted
    assert [name for name, ok in passed(found).items() if not ok] == ["AUC not lower"]
    assert "AUC not lower" in found.reason
    assert "kept the champion" in found.reason


def test_a_little_better_on_few_clients_may_be_much_worse_and_is_refused():
    rng = np.random.default_rng(5)
    y = np.repeat([1, 0], [60, 200]).astype(np.int8)
    challenger = np.clip(rng.normal(0.25 + 0.05 * y, 0.08), 0, 1)
    champion = np.clip(rng.normal(0.25 + 0.04 * y, 0.08), 0, 1)
    found = verdict(challenger, champion, y)
    assert found.checks[0].value > 0
    assert [name for name, ok in passed(found).items() if not ok] == ["AUC not inferior"]
    assert not found.promoted


def test_same_ranking_with_pds_drawn_apart_is_refused_by_the_brier_score():
    risk, y = clients()
    sharpened = np.clip(risk.mean() + 2.2 * (risk - risk.mean()), 0, 1)
    sharpened += risk.mean() - sharpened.mean()
    sharpened = np.clip(sharpened + 1e-9 * risk, 0, 1)
    found = verdict(sharpened, sharpened * 0.5 + 0.5 * risk, y, limits=Limits(margin_auc=1))
    assert passed(found)["Brier"] is False
    assert not found.promoted


def test_wrong_mean_is_refused_by_the_calibration():
    risk, y = clients()
    found = verdict(np.clip(risk + 0.04, 0, 1), risk, y)
    assert [name for name, ok in passed(found).items() if not ok] == ["calibration"]
    assert not found.promoted


def test_wrong_mean_is_let_through_where_the_champion_is_as_far_off():
    risk, y = clients()
    found = verdict(np.clip(risk + 0.04, 0, 1), np.clip(risk + 0.045, 0, 1), y)
    assert passed(found)["calibration"] is True


def test_moved_score_is_refused_by_the_stability():
    risk, y = clients()
    found = verdict(risk, risk, y, psi=PsiResult(0.31, "significant", 5000, 4000))
    assert [name for name, ok in passed(found).items() if not ok] == ["stability"]
    assert not found.promoted


# ── Checks that cannot be made ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("defaulters", "others"),
    [(CLASS_CLIENTS_MIN - 1, 500), (500, CLASS_CLIENTS_MIN - 1), (0, 500), (500, 0), (0, 0)],
)
def test_few_of_a_class_are_no_check_and_no_promotion(defaulters, others):
    y = np.repeat([1, 0], [defaulters, others]).astype(np.int8)
    pd = np.full(y.size, 0.2)
    found = verdict(pd, pd, y)
    assert not found.promoted
    assert passed(found) == dict.fromkeys(NAMES[:4]) | {"stability": True}
    assert all(check.value is None and "50 of each class" in check.reason for check in found.checks[:4])
    assert f"{defaulters:,} defaulters among {y.size:,} clients" in found.reason


def test_as_few_as_needed_are_checked():
    y = np.repeat([1, 0], [CLASS_CLIENTS_MIN, CLASS_CLIENTS_MIN]).astype(np.int8)
    pd = np.where(y == 1, 0.6, 0.4)
    assert None not in passed(verdict(pd, pd, y)).values()


def test_stability_that_was_not_computed_is_no_promotion():
    risk, y = clients()
    found = verdict(risk, risk, y, psi=PsiResult(None, "not run", 5000, 0, reason="no rows"))
    assert passed(found)["stability"] is None
    assert "not run: no rows" in found.reason
    assert not found.promoted


@pytest.mark.parametrize("why", ["no champion", "the champion cannot be used (missing)"])
def test_without_a_champion_the_first_model_is_promoted_and_what_can_be_is_shown(why):
    risk, y = clients()
    sample = Sample(y, np.clip(risk + 0.1, 0, 1), None, why)
    found = judge(sample, PsiResult(0.4, "significant", 9, 9), Limits(), seed=1)
    assert found.promoted
    assert why in found.reason
    assert passed(found) == dict.fromkeys(NAMES[:3]) | {"calibration": False, "stability": False}
    assert [check.reason for check in found.checks[:3]] == [f"not run: {why}"] * 3


@pytest.mark.parametrize(
    ("y", "challenger", "champion"),
    [
        ([0, 1], [0.1], None),
        ([0, 2], [0.1, 0.2], None),
        ([0, 1], [0.1, np.nan], None),
        ([0, 1], [0.1, 0.2], [0.1, 1.2]),
    ],
)
def test_wrong_columns_are_an_error(y, challenger, champion):
    with pytest.raises(ValueError, match=r"columns|outcome|PD"):
        Sample(np.array(y), np.array(challenger), None if champion is None else np.array(champion))


# ── Statistics ──────────────────────────────────────────────────────────────────────────────────


def delong(y, a, b):
    """Variance of a difference of paired AUCs: DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44."""
    cases, controls = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    kernels = [(s[cases][:, None] > s[controls]) + 0.5 * (s[cases][:, None] == s[controls]) for s in (a, b)]
    of_cases = np.cov([k.mean(axis=1) for k in kernels])
    of_controls = np.cov([k.mean(axis=0) for k in kernels])
    both = of_cases / cases.size + of_controls / controls.size
    return both[0, 0] + both[1, 1] - 2 * both[0, 1]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_interval_is_that_of_delong(seed):
    risk, y = clients(3000, seed)
    other = blurred(risk, 0.3, seed + 10)
    auc, _ = paired_bootstrap(y, risk, other, confidence=0.9, seed=seed)
    half_width = 1.6449 * np.sqrt(delong(y, risk, other))
    assert (auc.high - auc.low) / 2 == pytest.approx(half_width, rel=0.08)
    assert (auc.high + auc.low) / 2 == pytest.approx(auc.value, abs=0.1 * half_width)


def test_points_are_those_of_scikit_learn():
    risk, y = clients(500)
    other = np.round(blurred(risk, 0.3), 1)
    auc, brier = paired_bootstrap(y, risk, other, confidence=0.9, seed=0)
    assert (auc.first, auc.second) == pytest.approx((roc_auc_score(y, risk), roc_auc_score(y, other)))
    assert (brier.first, brier.second) == pytest.approx(
        (brier_score_loss(y, risk), brier_score_loss(y, other))
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=40).filter(
        lambda rows: len({d for d, _, w in rows if w}) == 2
    )
)
def test_weighted_auc_is_that_of_repeated_rows_with_ties(rows):
    y, score, weight = (np.array(column) for column in zip(*rows, strict=True))
    ranked = Ranked.of(y.astype(bool), score.astype(float))
    found = ranked.auc(weight[np.newaxis].astype(float))[0]
    assert found == pytest.approx(roc_auc_score(np.repeat(y, weight), np.repeat(score, weight)))


def test_same_seed_gives_the_same_interval_and_wide_samples_are_drawn_in_parts():
    from models import gate

    risk, y = clients(3000)
    whole = paired_bootstrap(y, risk, blurred(risk, 0.3), confidence=0.9, seed=9, draws=300)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "_CELLS", 3000 * 7)
        parts = paired_bootstrap(y, risk, blurred(risk, 0.3), confidence=0.9, seed=9, draws=300)
    assert whole == parts
    other = paired_bootstrap(y, risk, blurred(risk, 0.3), confidence=0.9, seed=10, draws=300)
    assert other[0].low != whole[0].low


def test_wider_confidence_is_a_wider_interval():
    risk, y = clients(2000)
    narrow, wide = (
        paired_bootstrap(y, risk, blurred(risk, 0.3), confidence=c, seed=1, draws=500)[0] for c in (0.8, 0.99)
    )
    assert wide.low < narrow.low < narrow.high < wide.high


def test_one_class_is_an_error():
    with pytest.raises(ValueError, match="both classes"):
        paired_bootstrap([1, 1], [0.1, 0.2], [0.1, 0.3], confidence=0.9, seed=0)


def test_right_model_is_rarely_refused_by_the_calibration():
    refused = 0  # 2.7 of 1,000 are expected
    for seed in range(1000):
        risk, y = clients(1500, seed)
        refused += judge(Sample(y, risk, None), STABLE, Limits(), seed=0).checks[3].passed is False
    assert refused <= 10


def test_resamples_draw_every_row_once_on_average_and_n_in_all() -> None:
    counts = np.concatenate(list(resampled(50, 250, np.random.default_rng(3))))
    assert counts.shape == (250, 50)
    assert (counts.sum(axis=1) == 50).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(50), abs=0.3)
