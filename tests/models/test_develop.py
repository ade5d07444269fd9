import dataclasses

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from creditflow.columns import ATTRIBUTE_NAMES, CLIENT_ID, OUTCOME
from creditflow.errors import ContentRefused, TrainingDiverged, TrainingRefused
from models.calibration import PlattCalibrator
from models.develop import (
    SCORE,
    choose_champion,
    develop,
    in_content_order,
    raw_scores,
    reference_sample,
    split,
    training_sha256,
)
from models.metrics import METRIC_NAMES, Metric
from models.registry import MODELS
from models.scorecard import grade
from models.stability import psi

FAST = ("logistic", "logistic_smote")


@pytest.fixture(scope="module")
def panel(clients):
    """The same clients in three months, in which some default late."""
    months = [
        clients.with_columns(
            pl.lit(f"2005-0{m}").alias("month"),
            (pl.col("bill_amt1") + m).alias("bill_amt1"),
            pl.when(pl.col(CLIENT_ID).str.ends_with(str(m)))
            .then(1)
            .otherwise(pl.col(OUTCOME))
            .cast(pl.Int8)
            .alias(OUTCOME),
        )
        for m in (4, 5, 6)
    ]
    return pl.concat(months)


# --- split -------------------------------------------------------------------------------------------


def test_parts_hold_60_20_20_of_the_clients_and_every_row_once(panel):
    parts = split(panel, seed=1)
    pieces = (parts.fit, parts.calibration, parts.held_out)
    assert [piece.height for piece in pieces] == [2700, 900, 900]
    together = in_content_order(pl.concat(pieces))
    assert together.equals(in_content_order(panel))


def test_no_client_lies_in_two_parts(panel):
    parts = split(panel, seed=1)
    ids = [set(piece[CLIENT_ID]) for piece in (parts.fit, parts.calibration, parts.held_out)]
    assert sum(map(len, ids)) == len(set.union(*ids)) == 1500


def test_parts_are_stratified(clients):
    parts = split(clients, seed=5)
    rates = [piece[OUTCOME].mean() for piece in (parts.fit, parts.calibration, parts.held_out)]
    assert rates == pytest.approx([clients[OUTCOME].mean()] * 3, abs=0.003)


def test_the_split_depends_on_content_and_seed_alone(panel):
    shuffled = panel.sample(fraction=1.0, shuffle=True, seed=2).select(reversed(panel.columns))
    first, second, other = split(panel, 1), split(shuffled, 1), split(panel, 2)
    assert first.fit.equals(second.fit)
    assert first.held_out.equals(second.held_out)
    assert not first.held_out.equals(other.held_out)


def test_reference_sample_is_seeded_and_bounded(clients):
    assert reference_sample(clients, 1).equals(clients)
    few = reference_sample(clients, 1, rows=100)
    assert few.height == 100
    assert few.equals(reference_sample(clients, 1, rows=100))
    assert not few.equals(reference_sample(clients, 2, rows=100))
    assert few[CLIENT_ID].is_sorted()


# --- developed models --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_the_registry(developed, clients, name):
    model = developed[name]
    assert tuple(model.held_out) == METRIC_NAMES
    assert set(model.bins) == {*ATTRIBUTE_NAMES, SCORE}
    assert model.bins[SCORE].rows == model.facts.calibration_rows + model.facts.held_out_rows == 600
    assert model.bins["limit_bal"].rows == model.facts.rows == clients.height
    assert model.facts.defaulters == clients[OUTCOME].sum()
    assert model.facts.features == ATTRIBUTE_NAMES
    assert model.reference.columns == [*ATTRIBUTE_NAMES, SCORE, "pd", OUTCOME]
    assert model.fit_seconds > 0


@pytest.mark.parametrize("name", MODELS)
def test_held_out_figures_are_those_of_the_held_out_rows(developed, clients, name):
    model = developed[name]
    held_out = split(clients, 7).held_out
    again = roc_auc_score(held_out[OUTCOME], model.score(held_out)["pd"])
    assert model.held_out["roc_auc"].value == pytest.approx(again, abs=1e-9)
    assert model.held_out["observed_rate"].value == pytest.approx(held_out[OUTCOME].mean())


@pytest.mark.parametrize("name", MODELS)
def test_scores_are_finite_ranked_like_pds_and_independent_of_chunks(developed, clients, name):
    model = developed[name]
    whole = model.score(clients)
    assert whole.columns == [SCORE, "pd"]
    assert whole.height == clients.height
    assert whole["pd"].is_between(0, 1, closed="none").all()
    ranked = whole.sort(SCORE)["pd"].to_numpy()
    assert (np.diff(ranked) >= 0).all()
    assert model.score(clients, chunk_rows=401).equals(whole)
    assert model.score(clients[-3:]).equals(whole[-3:])
    assert model.score(clients[::-1])[::-1].equals(whole)


@pytest.mark.parametrize("name", MODELS)
def test_mean_pd_is_near_the_observed_rate(developed, name):
    held_out = developed[name].held_out
    assert held_out["mean_pd"].value == pytest.approx(held_out["observed_rate"].value, abs=0.05)


def test_the_supervised_models_rank_well(developed):
    # The client's risk drives the outcome; what it leaves to chance caps the AUC near 0.78.
    for name in ("logistic", "logistic_smote", "gradient_boosting", "vae_supervised"):
        assert developed[name].held_out["roc_auc"].value > 0.65, name


def test_no_clients_give_no_scores(developed, clients):
    empty = developed["logistic"].score(clients.head(0))
    assert empty.schema == {SCORE: pl.Float64, "pd": pl.Float64}
    assert empty.height == 0


def test_the_reference_is_stable_against_itself(developed):
    model = developed["gradient_boosting"]
    assert psi(model.bins[SCORE], model.reference[SCORE]).value == 0


def test_development_repeats_itself_to_the_last_digit(clients):
    shuffled = clients.sample(fraction=1.0, shuffle=True, seed=9)
    first, second = develop(clients, seed=3, names=FAST), develop(shuffled, seed=3, names=FAST)
    for one, two in zip(first, second, strict=True):
        assert one.held_out == two.held_out
        assert one.bins == two.bins
        assert one.reference.equals(two.reference)


def test_order_of_names_is_kept(clients):
    assert [model.name for model in develop(clients, seed=3, names=FAST[::-1])] == list(FAST[::-1])


# --- refusals ----------------------------------------------------------------------------------------


def relabelled(clients, defaulters):
    outcome = np.arange(clients.height) < defaulters
    return clients.with_columns(pl.Series(OUTCOME, outcome.astype(np.int8)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.head(0), "at least 200 rows with outcomes, found 0"),
        (lambda f: f.head(199), "found 199"),
        (lambda f: relabelled(f, 0), "0 who defaulted and 1,500 who did not"),
        (lambda f: relabelled(f, 1500), "1,500 who defaulted and 0 who did not"),
        (lambda f: relabelled(f, 19), "19 who defaulted"),
        (lambda f: f.drop("pay_1", OUTCOME), "no column pay_1, defaulted"),
        (lambda f: f.with_columns(pl.lit(None, pl.Int8).alias(OUTCOME)), "1,500 of 1,500 without"),
        (lambda f: f.with_columns(pl.lit(2).alias(OUTCOME)), "1,500 of 1,500 without"),
    ],
)
def test_rows_that_cannot_train_are_refused(clients, change, message):
    with pytest.raises(TrainingRefused, match=message):
        develop(change(clients), seed=1, names=FAST)


def test_twenty_defaulters_are_enough(clients):
    (model,) = develop(relabelled(clients, 20), seed=1, names=["logistic_smote"])
    assert model.held_out["roc_auc"].value is not None
    assert model.facts.held_out_defaulters == 4


def test_one_client_who_defaults_often_is_one_defaulter(clients):
    lone = pl.concat(
        [relabelled(clients, 1).with_columns(month=pl.lit(f"2005-{m:02d}")) for m in range(1, 13)]
    )
    with pytest.raises(TrainingRefused, match="1 who defaulted"):
        develop(lone, seed=1, names=FAST)


def test_a_missing_attribute_is_named_before_any_fit(clients):
    holed = clients.with_columns(
        pl.when(pl.col(CLIENT_ID) == "C000007").then(None).otherwise(pl.col("age")).alias("age")
    )
    with pytest.raises(ContentRefused, match="row 8, column age"):
        develop(holed, seed=1, names=FAST)


@pytest.mark.parametrize(
    ("names", "message"), [([], "none"), (["logistic"] * 2, "each once"), (["oracle"], "'oracle'")]
)
def test_unknown_names_are_refused(clients, names, message):
    with pytest.raises(TrainingRefused, match=message):
        develop(clients, seed=1, names=names)


def test_scores_that_are_no_numbers_are_refused(clients):
    class Broken:
        def predict_proba(self, X):
            return np.full((len(X), 2), np.nan)

    with pytest.raises(TrainingDiverged, match="1,500 of 1,500"):
        raw_scores(MODELS["logistic"], Broken(), clients)


# --- champion ----------------------------------------------------------------------------------------


def with_auc(developed, aucs):
    def metric(auc):
        return Metric(None, "one class only") if auc is None else Metric(auc)

    return [
        dataclasses.replace(developed[name], held_out=developed[name].held_out | {"roc_auc": metric(auc)})
        for name, auc in aucs.items()
    ]


@pytest.mark.parametrize(
    ("aucs", "champion"),
    [
        ({"logistic": 0.7, "vae_supervised": 0.8}, "vae_supervised"),
        ({"vae_supervised": 0.7, "logistic": 0.7}, "logistic"),
        ({"logistic": None, "vae_anomaly": 0.2}, "vae_anomaly"),
    ],
)
def test_champion(developed, aucs, champion):
    assert choose_champion(with_auc(developed, aucs)) == champion


def test_without_an_auc_there_is_no_champion(developed):
    with pytest.raises(TrainingRefused, match="none among 1 models"):
        choose_champion(with_auc(developed, {"logistic": None}))


# --- content -----------------------------------------------------------------------------------------


def test_training_sum_ignores_order_and_width(clients):
    expected = training_sha256(clients)
    shuffled = clients.sample(fraction=1.0, shuffle=True, seed=4).select(reversed(clients.columns))
    assert training_sha256(shuffled) == expected
    assert training_sha256(clients.with_columns(pl.col("age").cast(pl.Int64))) == expected
    assert training_sha256(clients.with_columns(row_number=pl.int_range(pl.len()))) == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.with_columns(pl.col("age") + 1),
        lambda f: f.head(f.height - 1),
        lambda f: f.with_columns((pl.col(OUTCOME) ^ 1).alias(OUTCOME)),
        lambda f: f.with_columns(("x" + pl.col(CLIENT_ID)).alias(CLIENT_ID)),
        lambda f: f.with_columns(month=pl.lit("2005-04")),
        lambda f: f.rename({"bill_amt1": "bill_amt2", "bill_amt2": "bill_amt1"}),
    ],
)
def test_training_sum_sees_every_change(clients, change):
    assert training_sha256(change(clients)) != training_sha256(clients)


def test_training_sum_tells_ids_apart_that_join_alike(clients):
    two = (
        clients.head(2)
        .with_columns(pl.lit(1.0).alias(n) for n in ATTRIBUTE_NAMES)
        .with_columns(pl.lit(0).alias(OUTCOME))
    )
    first, second = (two.with_columns(pl.Series(CLIENT_ID, ids)) for ids in (["a", "bc"], ["ab", "c"]))
    assert training_sha256(first) != training_sha256(second)


def test_calibrators_match_the_kind_of_model(developed):
    kinds = {name: model.calibrator.transform for name, model in developed.items()}
    assert kinds == {name: "asinh" if spec.kind == "anomaly" else "logit" for name, spec in MODELS.items()}
    assert all(isinstance(model.calibrator, PlattCalibrator) for model in developed.values())


# --- on the real data --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(uci_file):
    frame = pl.read_csv(uci_file)
    frame.columns = [CLIENT_ID, *ATTRIBUTE_NAMES, OUTCOME]
    return frame.with_columns(pl.col(CLIENT_ID).cast(pl.String))


@pytest.mark.uci
@pytest.mark.slow
def test_the_uci_clients(real):
    logistic, boosting = develop(real, seed=42, names=("logistic", "gradient_boosting"))
    # The reference figures on this data (other splits): 0.715 to 0.723, and 0.7815 to 0.784.
    assert logistic.held_out["roc_auc"].value == pytest.approx(0.715, abs=0.015)
    assert boosting.held_out["roc_auc"].value == pytest.approx(0.78, abs=0.015)
    assert boosting.held_out["ece"].value < 0.02
    assert boosting.facts.defaulters == 6636
    held_out = split(real, 42).held_out
    graded = held_out.with_columns(grade(boosting.score(held_out)["pd"]))
    rates = (
        graded.group_by("grade")
        .agg(pl.len(), pl.col(OUTCOME).mean())
        .sort("grade")
        .filter(pl.col("len") >= 50)
    )
    assert rates[OUTCOME].is_sorted()
    assert rates["len"].max() < 0.2 * held_out.height
