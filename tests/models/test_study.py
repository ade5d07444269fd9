"""The study's figures: on a small portfolio with short fits, and on the published data set."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.cbook import boxplot_stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split

from creditflow.columns import ATTRIBUTE_NAMES, ATTRIBUTES, CLIENT_ID, OUTCOME
from creditflow.errors import TrainingRefused
from models import study as module
from models.anomaly import STUDY_VAE, VAEAnomalyDetector
from models.study import PUBLISHED_MODELS, PUBLISHED_SHA256, Estimators, Sample, Split, Study, run_study
from models.vae import VAEClassifier

ROWS = 600
SMALL = {"epochs": 2, "hidden_units": 8, "hidden_layers": 1, "decoder_units": 8}


def portfolio(rows: int = ROWS, seed: int = 5) -> pl.DataFrame:
    """Clients with IDs 1, 2, …; default rises with pay_1 and falls with the limit."""
    rng = np.random.default_rng(seed)
    columns: dict[str, object] = {CLIENT_ID: [str(n) for n in range(1, rows + 1)]}
    for attribute in ATTRIBUTES:
        high = {"sex": 3, "education": 7, "marriage": 4, "age": 70}.get(attribute.name, 5)
        columns[attribute.name] = (
            np.round(np.exp(rng.normal(9, 1, rows)), -2)
            if attribute.role == "amount"
            else rng.integers({"age": 21, "sex": 1}.get(attribute.name, 0), high, rows)
        )
    risk = np.asarray(columns["pay_1"]) - 2 - np.log(np.asarray(columns["limit_bal"]) / 8000)
    columns[OUTCOME] = (rng.random(rows) < 1 / (1 + np.exp(1.2 - risk))).astype(int)
    dtypes = {a.name: a.dtype for a in ATTRIBUTES} | {OUTCOME: pl.Int8}
    return pl.DataFrame(columns).cast(dtypes)  # type: ignore[arg-type]


def short(seed: int) -> Estimators:
    """The study's estimators, with networks that train in a moment."""
    usual = module.study_estimators(seed)
    return replace(
        usual,
        plain_vae=VAEAnomalyDetector(**(STUDY_VAE | SMALL), random_state=seed),
        vae_anomaly=VAEAnomalyDetector(**SMALL, random_state=seed),
        vae_supervised=VAEClassifier(**SMALL, random_state=seed),
        folds=2,
        starts=2,
    )


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return portfolio()


@pytest.fixture(scope="module")
def study(frame: pl.DataFrame) -> Study:
    return run_study(frame, build=short)


# --- Published figures ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED_MODELS)
def test_published_figures_agree_with_one_another(name: str) -> None:
    """F1 and accuracy follow from precision, recall and class sizes: a typing error shows."""
    figures = PUBLISHED_MODELS[name]
    precision, recall = figures["precision"], figures["recall"]
    found = recall * 1991
    wrong = (1991 - found) + found * (1 / precision - 1)
    assert figures["f1"] == pytest.approx(2 * precision * recall / (precision + recall), abs=0.011)
    assert figures["accuracy"] == pytest.approx(1 - wrong / 9000, abs=0.006)


def test_published_loss_falls_to_a_plateau() -> None:
    losses = list(module.PUBLISHED_EPOCH_LOSS.values())
    assert losses == sorted(losses, reverse=True)
    assert losses[0] < module.PUBLISHED_FIRST_BATCH_LOSS


def test_canonical_csv_is_the_one_that_the_published_hash_is_of() -> None:
    frame = portfolio(1).with_columns(
        pl.lit(20000.5).alias("limit_bal"), pl.lit(-2).cast(pl.Int16).alias("pay_1")
    )
    header = "ID,LIMIT_BAL,SEX,EDUCATION,MARRIAGE,AGE,PAY_0,PAY_2,PAY_3,PAY_4,PAY_5,PAY_6," + ",".join(
        f"{stem}{n}" for stem in ("BILL_AMT", "PAY_AMT") for n in range(1, 7)
    )
    values = ",".join(str(value) for value in frame.row(0))
    text = f"{header},default payment next month\n{values}\n"
    assert ",20000.5," in text
    assert ",-2," in text
    assert module.content_sha256(frame) == hashlib.sha256(text.encode()).hexdigest()


def sample_with(**facts: object) -> Sample:
    usual = {"rows": 30_000, "defaulters": 6_636, "duplicates": 0, "undocumented": {}, "train_rows": 0}
    usual |= {"train_defaulters": 0, "test_rows": 0, "test_defaulters": 0, "content_sha256": "0" * 64}
    return Sample(**(usual | facts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"content_sha256": PUBLISHED_SHA256}, None),
        ({}, "its values are not the same"),
        ({"rows": 600}, "600 clients of whom 6,636 defaulted, the published data set 30,000 and 6,636"),
        ({"defaulters": 6_635}, "30,000 clients of whom 6,635 defaulted"),
    ],
)
def test_says_how_a_file_is_unlike_the_published_one(facts: dict[str, object], says: str | None) -> None:
    found = module.unlike_published(sample_with(**facts))
    assert found is None if says is None else says in str(found)


@pytest.mark.parametrize(
    ("sha256", "difference", "verdict"),
    [
        (PUBLISHED_SHA256, 0.0010, "matches"),
        (PUBLISHED_SHA256, -0.0010, "matches"),
        (PUBLISHED_SHA256, 0.0011, "differs"),
        (PUBLISHED_SHA256, -0.0011, "differs"),
        ("0" * 64, 0.0, "not comparable"),
    ],
)
def test_verdict(sha256: str, difference: float, verdict: str) -> None:
    assert module._verdict(sample_with(content_sha256=sha256), difference, 0.001) == verdict


def test_other_data_are_compared_with_nothing(study: Study) -> None:
    assert {row.verdict for row in study.comparison} == {"not comparable"}


# --- Split and order ------------------------------------------------------------------------------


def test_split_is_the_published_one(frame: pl.DataFrame) -> None:
    X, y = frame.select(ATTRIBUTE_NAMES).to_numpy(), frame[OUTCOME].to_numpy()
    expected = train_test_split(X, y, test_size=0.3, stratify=y, random_state=42)
    found = module.split_of(frame, 42)
    for mine, theirs in zip(
        (found.X_train, found.X_test, found.y_train, found.y_test), expected, strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_order_of_the_file_does_not_matter(frame: pl.DataFrame) -> None:
    shuffled, by_id = module.in_order(frame.sample(fraction=1, shuffle=True, seed=1))
    assert by_id
    assert shuffled.equals(frame)


def test_ids_that_are_text_keep_the_order_of_the_file(frame: pl.DataFrame) -> None:
    text = frame.with_columns(pl.format("C{}", CLIENT_ID).alias(CLIENT_ID)).reverse()
    found, by_id = module.in_order(text)
    assert not by_id
    assert found.equals(text)


def test_same_data_same_figures(frame: pl.DataFrame, study: Study) -> None:
    again = run_study(frame.reverse(), build=short)
    assert json.dumps(again.figures(), sort_keys=True) == json.dumps(study.figures(), sort_keys=True)


def test_another_seed_is_another_study(frame: pl.DataFrame, study: Study) -> None:
    assert (
        run_study(frame, seed=7, build=short).models["logistic"].roc_auc != study.models["logistic"].roc_auc
    )


@pytest.mark.parametrize(
    "shrink",
    [
        lambda f: f.head(99),
        lambda f: f.head(0),
        lambda f: f.filter(pl.col(OUTCOME) == 0),
        lambda f: f.filter(pl.col(OUTCOME) == 1),
        lambda f: pl.concat([f.filter(pl.col(OUTCOME) == 0), f.filter(pl.col(OUTCOME) == 1).head(19)]),
    ],
    ids=["99 rows", "no rows", "nobody defaulted", "everybody defaulted", "19 defaulters"],
)
def test_refuses_what_cannot_be_studied(
    frame: pl.DataFrame, shrink: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    with pytest.raises(TrainingRefused, match="20 or more of each class"):
        run_study(shrink(frame), build=short)


def test_progress_counts_the_stages(frame: pl.DataFrame) -> None:
    seen: list[tuple[str, int, int]] = []
    run_study(frame, progress=lambda *step: seen.append(step), build=short)
    assert [done for _, done, _ in seen] == list(range(len(seen)))
    assert seen[-1][0] == "done"
    assert seen[-1][1] == seen[-1][2]


# --- The portfolio --------------------------------------------------------------------------------


def test_sample_counts(frame: pl.DataFrame) -> None:
    twice = pl.concat([frame, frame.head(3).with_columns(pl.Series(CLIENT_ID, ["901", "902", "903"]))])
    found = module._sample(twice, module.split_of(twice, 42))
    assert (found.rows, found.duplicates) == (603, 3)
    assert found.train_rows + found.test_rows == 603
    assert found.train_defaulters + found.test_defaulters == found.defaulters == twice[OUTCOME].sum()
    assert sum(found.shares.values()) == pytest.approx(1)


def test_undocumented_codes_are_counted_by_attribute(frame: pl.DataFrame) -> None:
    found = module._undocumented(frame)
    assert found["education"] == {
        code: frame.filter(pl.col("education") == code).height for code in (0, 5, 6)
    }
    assert found["marriage"].keys() == found["pay_1"].keys() == {0}
    assert "sex" not in found


@given(st.lists(st.integers(1, 100), min_size=2, max_size=60))
def test_outliers_are_those_that_matplotlib_draws(values: list[int]) -> None:
    theirs = boxplot_stats(values)[0]
    mine = module.box_figures(np.array(values, dtype=float))
    assert mine.outliers == len(theirs["fliers"])
    assert (mine.q1, mine.median, mine.q3) == pytest.approx((theirs["q1"], theirs["med"], theirs["q3"]))


def test_leaving_outliers_out_moves_the_mean() -> None:
    box = module.box_figures(np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 100]))
    assert (box.outliers, box.mean, box.mean_without, box.high_fence) == (1, 14.5, 5.0, 9.0)


def test_a_trend_along_the_ids_is_seen(frame: pl.DataFrame) -> None:
    rising = frame.sort("limit_bal").with_columns(pl.Series(CLIENT_ID, [str(n) for n in range(ROWS)]))
    assert module._timeline(rising, True).limit_correlation > 0.99
    assert abs(module._timeline(frame, True).limit_correlation) < 0.2


# --- Distributions --------------------------------------------------------------------------------


def test_every_attribute_has_a_distribution(study: Study) -> None:
    assert [d.name for d in study.distributions] == list(ATTRIBUTE_NAMES)
    assert {d.kind for d in study.distributions if d.name.startswith("bill")} == {"density"}
    assert {d.kind for d in study.distributions if d.name.startswith("pay_") and "amt" not in d.name} == {
        "codes"
    }


def test_shares_of_codes_add_up(study: Study) -> None:
    for found in (d for d in study.distributions if d.kind == "codes"):
        assert found.paid.sum() == pytest.approx(1)
        assert found.defaulted.sum() == pytest.approx(1)


def test_a_density_integrates_to_one_where_all_of_it_is_drawn() -> None:
    rng = np.random.default_rng(0)
    found = module._density("age", rng.uniform(0, 100, 4_000), rng.normal(50, 8, 2_000))
    assert np.trapezoid(found.defaulted, found.at) == pytest.approx(1, abs=0.01)
    assert found.outside_share == 0
    assert found.at[found.defaulted.argmax()] == pytest.approx(50, abs=4)


def test_separation_is_nought_to_one() -> None:
    low, high = np.arange(50.0), np.arange(100.0, 150.0)
    assert module._separation(low, high) == 1
    assert module._separation(low, low) == 0


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_attribute_is_no_obstacle(frame: pl.DataFrame, value: float) -> None:
    flat = frame.with_columns(pl.lit(value).alias("bill_amt3"), pl.lit(1).cast(pl.Int16).alias("sex"))
    study = run_study(flat, build=short)
    constant = next(d for d in study.distributions if d.name == "bill_amt3")
    assert (constant.kind, list(constant.at), constant.separation) == ("codes", [value], 0)


# --- Models ---------------------------------------------------------------------------------------


def test_all_five_models_are_there(study: Study) -> None:
    assert list(study.models) == ["logistic", "logistic_smote", "vae_latent", "vae_anomaly", "vae_supervised"]
    for model in study.models.values():
        assert len(model.scores) == study.sample.test_rows
        assert 0 <= model.roc_auc <= 1
        assert model.report.defaulted.support == study.sample.test_defaulters


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.9, 1.1])
def test_report_agrees_with_scikit_learn(threshold: float) -> None:
    rng = np.random.default_rng(3)
    y, scores = rng.integers(0, 2, 300), rng.random(300)
    theirs = classification_report(y, scores >= threshold, output_dict=True, zero_division=0)
    mine = module.report_at(y, scores, threshold, "a test")
    assert mine.accuracy == pytest.approx(theirs["accuracy"])
    for figures, label in ((mine.paid, "0"), (mine.defaulted, "1")):
        expected = theirs[label]
        assert figures.precision == pytest.approx(expected["precision"])
        assert figures.recall == pytest.approx(expected["recall"])
        assert figures.f1 == pytest.approx(expected["f1-score"])
        assert figures.support == expected["support"]
    assert sum(map(sum, mine.confusion)) == 300
    assert mine.confusion[1][1] == pytest.approx(mine.defaulted.recall * y.sum())


def test_the_joint_models_cut_is_chosen_without_the_test_part(frame: pl.DataFrame) -> None:
    split = module.split_of(frame, 42)
    blind = Split(split.X_train, split.X_test[::-1], split.y_train, 1 - split.y_test)
    cuts = [module.recall_cut(short(1).vae_supervised, part, 2, 42) for part in (split, blind)]
    assert cuts[0] == cuts[1]


def test_the_cut_finds_the_published_share_of_training_defaulters(frame: pl.DataFrame) -> None:
    class Told(ClassifierMixin, BaseEstimator):
        """Gives the only attribute as the probability: what it says of a client is known beforehand."""

        def fit(self, X: np.ndarray, y: np.ndarray) -> "Told":
            self.classes_ = np.unique(y)
            return self

        def predict(self, X: np.ndarray) -> np.ndarray:
            return (X[:, 0] > 0.5).astype(int)

        def predict_proba(self, X: np.ndarray) -> np.ndarray:
            return np.column_stack([1 - X[:, 0], X[:, 0]])

    rng = np.random.default_rng(2)
    X, y = rng.random((500, 1)), rng.integers(0, 2, 500)
    cut = module.recall_cut(Told(), Split(X, X, y, y), 5, 42)
    recall = np.mean(X[y == 1, 0] >= cut)
    assert 0.62 <= recall < 0.63


def test_the_one_class_cut_flags_the_default_share_of_the_training_part(frame: pl.DataFrame) -> None:
    split = module.split_of(frame, 42)
    detector = short(42).vae_anomaly
    found = module._one_class(detector, split, module._Clock(None))
    flagged = np.mean(detector.reconstruction_error(split.X_train) >= found.report.threshold)
    assert flagged == pytest.approx(split.y_train.mean(), abs=2 / len(split.y_train))


def test_loss_has_an_entry_an_epoch_and_the_other_starts(study: Study) -> None:
    assert len(study.loss.per_epoch) == 2
    assert len(study.loss.other_starts) == 2
    assert list(study.loss.other_starts) == sorted(study.loss.other_starts)
    assert study.loss.covers(study.loss.first_batch)
    assert not study.loss.covers(max(study.loss.first_batch, *study.loss.other_starts) + 1e-9)


def test_latent_components_hold_all_the_variance(study: Study) -> None:
    assert sum(study.latent.explained) == pytest.approx(1)
    assert study.latent.points.shape == (study.sample.test_rows, 2)


def test_one_latent_dimension_is_drawn_on_a_line(frame: pl.DataFrame) -> None:
    def flat(seed: int) -> Estimators:
        plain = VAEAnomalyDetector(**(STUDY_VAE | SMALL | {"latent_dim": 1}), random_state=seed)
        return replace(short(seed), plain_vae=plain)

    latent = run_study(frame, build=flat).latent
    assert latent.explained == (1.0,)
    assert not latent.points[:, 1].any()


@given(st.integers(2, 2_000), st.integers(2, 300))
def test_a_thinned_curve_keeps_its_ends(length: int, most: int) -> None:
    curve = np.column_stack([np.linspace(0, 1, length), np.linspace(0, 1, length)])
    found = module.thinned(curve, most)
    assert len(found) <= min(length, most)
    assert (found[0] == curve[0]).all()
    assert (found[-1] == curve[-1]).all()


def test_figures_are_plain_json(study: Study) -> None:
    text = json.dumps(study.figures(), allow_nan=False)
    assert json.loads(text)["models"]["logistic"]["roc_auc"] == study.models["logistic"].roc_auc
    assert "seconds" not in text
    assert study.timings["total"] > 0


# --- The published data set -----------------------------------------------------------------------


@pytest.mark.uci
@pytest.mark.slow
def test_the_published_report_is_reproduced(uci_file) -> None:
    frame = pl.read_csv(uci_file)
    frame.columns = [CLIENT_ID, *ATTRIBUTE_NAMES, OUTCOME]
    study = run_study(frame.with_columns(pl.col(CLIENT_ID).cast(pl.String)))
    sample, models = study.sample, study.models
    assert sample.is_published
    assert (sample.test_rows, sample.test_defaulters) == (9_000, 1_991)
    assert sample.duplicates == 35
    assert sample.undocumented["education"] == {0: 14, 5: 280, 6: 51}
    assert sample.undocumented["marriage"] == {0: 54}
    # The report's printed figures.
    assert models["logistic"].roc_auc == pytest.approx(0.7150, abs=0.001)
    assert models["logistic_smote"].roc_auc == pytest.approx(0.7177, abs=0.001)
    assert models["vae_supervised"].roc_auc >= 0.7784
    assert models["vae_anomaly"].roc_auc >= 0.58
    verdicts = {(row.subject, row.figure): row.verdict for row in study.comparison}
    for name in ("logistic", "logistic_smote"):
        assert {verdicts[name, figure] for figure in module.FIGURES} == {"matches"}
    # Its cut is cross-validated inside the training part: about the published recall, ahead in the rest.
    supervised = models["vae_supervised"].report
    assert supervised.defaulted.recall == pytest.approx(0.62, abs=0.02)
    assert supervised.defaulted.precision >= 0.47
    assert supervised.accuracy >= 0.76
    # Every printed epoch within 0.02; the first batch is one draw, so it is held against twenty.
    assert {verdict for (name, figure), verdict in verdicts.items() if figure.startswith("epoch")} == {
        "matches"
    }
    assert study.loss.per_epoch[-1] == pytest.approx(0.8963, abs=0.02)
    assert study.loss.covers(module.PUBLISHED_FIRST_BATCH_LOSS)
