"""The parts of the model comparison that need no peer and no training."""

import importlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from creditflow.version import code_version
from models.gate import resampled

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
Load = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def load() -> Iterator[Load]:
    """Imports a module of benchmarks/ as the command does; the command's settings of threads do not stay."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        before = dict(os.environ)
        yield importlib.import_module
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="module")
def measures(load: Load) -> ModuleType:
    return load("measures")


@pytest.fixture(scope="module")
def peers(load: Load) -> ModuleType:
    return load("peers")


@pytest.fixture(scope="module")
def fingerprints(load: Load) -> ModuleType:
    return load("fingerprints")


@pytest.fixture(scope="module")
def models_page(load: Load) -> ModuleType:
    return load("models_page")


@pytest.fixture(scope="module")
def comparison(load: Load) -> ModuleType:
    return load("model_comparison")


def clients(rows: int, seed: int, rate: float = 0.25) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes and a score that ranks them somewhat."""
    rng = np.random.default_rng(seed)
    y = (rng.random(rows) < rate).astype(int)
    return y, rng.normal(size=rows) + y


# ── Bootstrap ───────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), levels=st.integers(1, 30))
def test_auc_is_scikit_learns_with_ties(measures: ModuleType, seed: int, levels: int) -> None:
    y = np.tile([0, 1], 30)
    score = np.round(np.random.default_rng(seed).normal(size=60) * levels / 10)
    found = measures.bootstrap_auc([(y, [score])], draws=1)[0]
    assert found.value == pytest.approx(roc_auc_score(y, score), abs=1e-12)


def test_draw_is_the_mean_over_folds_of_the_resampled_clients_auc(measures: ModuleType) -> None:
    folds = [clients(150, seed) for seed in (1, 2)]
    expected = []
    for number, (y, score) in enumerate(folds):
        weights = next(resampled(y.size, 3, np.random.default_rng([measures.SEED, number])))
        rows = np.repeat(np.arange(y.size), weights[2].astype(int))
        expected.append(roc_auc_score(y[rows], score[rows]))
    found = measures.bootstrap_auc([(y, [score]) for y, score in folds], draws=3)[0]
    assert found.draws[2] == pytest.approx(np.mean(expected), abs=1e-12)


def test_spread_is_that_of_delong(measures: ModuleType) -> None:
    """DeLong et al. 1988, equation 4: the variance of an AUC from its structural components."""
    y, score = clients(2_000, 5)
    bad, good = score[y == 1], score[y == 0]
    wins = (bad[:, None] > good[None, :]).astype(float)
    variance = wins.mean(axis=1).var(ddof=1) / bad.size + wins.mean(axis=0).var(ddof=1) / good.size
    found = measures.bootstrap_auc([(y, [score])], draws=1_000)[0]
    assert found.draws.std() == pytest.approx(np.sqrt(variance), rel=0.1)


def test_pairing_takes_out_what_two_models_share(measures: ModuleType) -> None:
    y, score = clients(1_000, 8)
    near = score + np.random.default_rng(9).normal(scale=0.05, size=score.size)
    one, same, other = measures.bootstrap_auc([(y, [score, score, near])], draws=400)
    assert one.minus(same) == measures.Difference(0.0, 0.0, 0.0)
    paired = one.minus(other)
    assert paired.high - paired.low < 0.2 * np.ptp(np.quantile(one.draws, [0.025, 0.975]))
    assert one.minus(other).value == pytest.approx(roc_auc_score(y, score) - roc_auc_score(y, near))


def test_interval_agrees_with_that_of_the_promotion_gate(measures: ModuleType) -> None:
    from models.gate import paired_bootstrap

    y, score = clients(2_000, 11)
    other = score + np.random.default_rng(12).normal(size=score.size)
    first, second = measures.bootstrap_auc([(y, [score, other])])
    ours, (gate, _) = first.minus(second), paired_bootstrap(y, score, other, confidence=0.95, seed=1)
    assert ours.value == pytest.approx(gate.value, abs=1e-12)
    assert (ours.low, ours.high) == pytest.approx((gate.low, gate.high), abs=0.1 * (gate.high - gate.low))


def test_same_seed_gives_the_same_draws(measures: ModuleType) -> None:
    y, score = clients(300, 4)
    first, second = (measures.bootstrap_auc([(y, [score])], draws=150)[0].draws for _ in range(2))
    assert (first == second).all()
    assert (measures.bootstrap_auc([(y, [score])], draws=150, seed=1)[0].draws != first).any()


def test_resample_of_one_class_is_refused(measures: ModuleType) -> None:
    y = np.array([1, 0, 0, 0])
    with pytest.raises(ValueError, match="one class only"):
        measures.bootstrap_auc([(y, [np.arange(4.0)])], draws=50)


# ── Figures ─────────────────────────────────────────────────────────────────────────────────────


def test_anomaly_score_has_ranking_figures_alone(measures: ModuleType) -> None:
    y, score = clients(400, 2)
    found = measures.figures_of(y, 1_000 * score, is_pd=False)
    assert set(found) == {"roc_auc", "average_precision", "ks"}
    assert found["roc_auc"] == pytest.approx(roc_auc_score(y, score), abs=1e-12)


def test_pd_has_every_figure_and_the_floor(measures: ModuleType) -> None:
    y, score = clients(400, 2)
    found = measures.figures_of(y, norm.cdf(score), is_pd=True)
    assert set(found) == {*measures.FIGURES, "ece_floor"}


def test_folds_count_alike(measures: ModuleType) -> None:
    assert measures.mean_of([{"ks": 0.2}, {"ks": 0.5}]) == {"ks": pytest.approx(0.35)}


def test_cut_reaches_the_recall_and_no_higher_one_does(measures: ModuleType) -> None:
    y, score = clients(1_000, 3)
    cut = measures.recall_cut(y, score, 0.62)
    above = np.sort(score[score > cut])[0]
    assert (score[y == 1] >= cut).mean() >= 0.62 > (score[y == 1] >= above).mean() - 1 / y.sum()


def test_figures_at_a_cut_by_hand(measures: ModuleType) -> None:
    y = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    score = np.array([9.0, 7.0, 2.0, 8.0, 1.0, 1.0, 1.0, 7.0])
    assert measures.at_cut(y, score, 7.0) == {
        "cut": 7.0,
        "recall": pytest.approx(2 / 3),
        "precision": pytest.approx(1 / 2),
        "accuracy": pytest.approx(5 / 8),
    }


# ── Peers ───────────────────────────────────────────────────────────────────────────────────────


def test_drawn_settings_differ_and_follow_the_seed(peers: ModuleType) -> None:
    space = {"depth": (3, 4, 5), "rate": (0.1, 0.2)}
    first = list(peers.drawn(space, 6, 1))
    assert len({tuple(one.items()) for one in first}) == 6
    assert first == list(peers.drawn(space, 6, 1)) != list(peers.drawn(space, 6, 2))


def test_more_draws_than_settings_are_refused(peers: ModuleType) -> None:
    with pytest.raises(ValueError, match="7 draws"):
        list(peers.drawn({"depth": (3, 4, 5), "rate": (0.1, 0.2)}, 7, 1))


@pytest.fixture
def kept(peers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for searches."""
    monkeypatch.setattr(peers, "KEPT", tmp_path / "peers.json")
    return tmp_path / "peers.json"


def test_search_goes_on_where_it_stopped_and_chooses_the_best(peers: ModuleType, kept: Path) -> None:
    X = np.random.default_rng(1).normal(size=(300, 23))
    y = (X[:, 0] + X[:, 1] > 1).astype(int)
    space = {"C": (1e-6, 1e-3, 1.0), "max_iter": (100,)}
    told: list[str] = []
    for draws in (2, 3):
        # A name of the table, because only its searches are kept.
        peer = peers.Peer("xgboost", "Some", "scikit-learn", ("raw",), peers._logistic, {}, space, draws)
        peers.search(peer, peers.Inputs("raw", "all"), X, y, told.append)
    assert [line[:18] for line in told] == [f"xgboost raw {n}" for n in ("1/2: 0", "2/2: 0", "3/3: 0")]
    found = json.loads(kept.read_text("utf-8"))["xgboost"]["raw"]
    assert len(found["trials"]) == 3
    assert found["roc_auc"] == max(trial["roc_auc"] for trial in found["trials"])
    assert peers.settings_of(peer, "raw") == {"C": 1.0, "max_iter": 100}


def test_searches_stay_beside_each_other(peers: ModuleType, kept: Path) -> None:
    for name, rate in (("lightgbm", 0.1), ("xgboost", 0.2)):
        peers.keep(name, "raw", [{"roc_auc": 0.78, "settings": {"rate": rate}}] * 2)
    assert peers.settings_of(peers.PEERS["lightgbm"], "raw") == {"rate": 0.1}
    assert peers.settings_of(peers.PEERS["xgboost"], "raw") == {"rate": 0.2}
    assert peers.settings_of(peers.PEERS["forest"], "raw") == dict(peers.PEERS["forest"].fixed)


def test_published_settings_are_the_best_of_the_settings_drawn(peers: ModuleType) -> None:
    kept = json.loads(peers.KEPT.read_text("utf-8"))
    tuned = {(p.name, view) for p in peers.PEERS.values() if p.space for view in p.views}
    assert {(name, view) for name, views in kept.items() for view in views} == tuned
    for name, view in sorted(tuned):
        found, peer = kept[name][view], peers.PEERS[name]
        # A search may have been broken off, but no trial may have been left out.
        expected = list(peers.drawn(peer.space, peer.draws, peers.SEED))[: len(found["trials"])]
        assert [trial["settings"] for trial in found["trials"]] == expected
        best = max(found["trials"], key=lambda trial: trial["roc_auc"])
        assert (found["chosen"], found["roc_auc"]) == (best["settings"], best["roc_auc"])


@pytest.mark.parametrize("view", ["raw", "features"])
def test_default_policy_shows_peers_no_protected_column(peers: ModuleType, view: str) -> None:
    everything, default = (peers.Inputs(view, policy) for policy in ("all", "unprotected"))
    left_out = set(everything.names) - set(default.names)
    assert {name.removesuffix("_group") for name in left_out} == {"sex", "marriage", "age"}
    assert len(default.code_indices) == len(everything.code_indices) - 2


@pytest.mark.parametrize("view", ["raw", "features"])
def test_matrix_has_the_columns_named(peers: ModuleType, view: str) -> None:
    from creditflow.columns import ATTRIBUTE_NAMES

    frame = pl.DataFrame({name: [float(i), 1.0] for i, name in enumerate(ATTRIBUTE_NAMES)})
    inputs = peers.Inputs(view, "unprotected")
    X = inputs.matrix(frame)
    assert X.shape == (2, len(inputs.names))
    assert X[0, inputs.names.index("pay_amt6")] == ATTRIBUTE_NAMES.index("pay_amt6")


def test_one_class_peer_sees_those_who_paid(peers: ModuleType) -> None:
    class Detector:
        def fit(self, X: np.ndarray) -> None:
            self.seen = X

        def decision_function(self, X: np.ndarray) -> np.ndarray:
            return X[:, 0]

    peer = peers.OneClass(Detector()).fit(np.array([[1.0], [2.0], [3.0]]), np.array([0, 1, 0]))
    assert peer.detector.seen.tolist() == [[1.0], [3.0]]
    assert peer.anomaly_score(np.array([[7.0]])).tolist() == [7.0]


# ── Fingerprints ────────────────────────────────────────────────────────────────────────────────


def test_digest_follows_imports_wherever_they_stand(
    fingerprints: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = {
        "models/top.py": "from models import middle\nfrom flows import unrelated\n",
        "models/middle.py": "def later():\n    from creditflow.deep import thing\n",
        "creditflow/deep.py": "thing = 1\n",
        "models/other.py": "thing = 1\n",
    }
    for name, text in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(fingerprints, "ROOT", tmp_path)

    def digest() -> str:
        fingerprints.sources_digest.cache_clear()
        return fingerprints.sources_digest("models.top")

    first = digest()
    (tmp_path / "models/other.py").write_text("thing = 2\n")
    assert digest() == first
    (tmp_path / "creditflow/deep.py").write_text("thing = 2\n")
    assert digest() != first
    fingerprints.sources_digest.cache_clear()


def test_registry_leads_to_every_estimator(fingerprints: ModuleType) -> None:
    found = fingerprints._behind("models.registry")
    assert {"models.vae", "models.network", "models.anomaly", "models.baselines", "models.features"} <= found
    assert not found & {"models.study", "models.simulator"}


def test_digest_tells_parts_apart(fingerprints: ModuleType) -> None:
    assert fingerprints.text_digest("ab", "c") != fingerprints.text_digest("a", "bc")


# ── Protocols ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def data(comparison: ModuleType) -> Any:
    from creditflow.columns import ATTRIBUTE_NAMES

    y, _ = clients(1_000, 1)
    columns = {name: np.arange(1_000.0) % (i + 2) for i, name in enumerate(ATTRIBUTE_NAMES)}
    return comparison.Data(pl.DataFrame({**columns, "defaulted": y}), "sha")


def test_s_is_the_studys_split(data: Any) -> None:
    ((train, test),) = data.folds("S")
    expected = train_test_split(np.arange(1_000), test_size=0.3, stratify=data.y, random_state=42)
    assert (train == expected[0]).all()
    assert (test == expected[1]).all()


def test_choices_never_see_the_test_rows_of_s(data: Any) -> None:
    ((_, held_out),) = data.folds("S")
    tested = np.concatenate([test for _, test in data.folds("T")])
    assert sorted(tested) == sorted(data.training)
    assert not any(np.isin(held_out, part).any() for fold in data.folds("T") for part in fold)


def test_cv_tests_every_client_once(data: Any) -> None:
    folds = data.folds("CV")
    assert len(folds) == 5
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(1_000))


def test_subjects_cover_both_views_and_policies(comparison: ModuleType) -> None:
    found = comparison.subjects(["blend", "xgboost"], comparison.POLICIES)
    assert sorted(subject.key for subject in found) == [
        "blend|features|all",
        "blend|features|unprotected",
        "xgboost|features|all",
        "xgboost|features|unprotected",
        "xgboost|raw|all",
        "xgboost|raw|unprotected",
    ]


@pytest.mark.parametrize(
    ("key", "other", "compared"),
    [
        ("blend|features|all", "xgboost|raw|all", True),
        ("blend|features|unprotected", "xgboost|raw|all", True),
        ("blend|features|unprotected", "blend|features|all", True),
        ("xgboost|raw|unprotected", "xgboost|raw|all", True),
        ("xgboost|raw|all", "xgboost|features|all", False),
        ("xgboost|raw|all", "blend|features|all", False),
        ("blend|features|all", "logistic|features|all", False),
        ("blend|features|all", "blend|features|all", False),
    ],
)
def test_what_is_compared(comparison: ModuleType, key: str, other: str, compared: bool) -> None:
    assert comparison._compared(key, other) is compared


def test_run_is_kept_until_its_fingerprint_changes(
    comparison: ModuleType, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "RESULTS", tmp_path / "results" / "models.json")
    monkeypatch.setattr(comparison, "SCORES", tmp_path / "scores")
    runs: list[str] = []

    def pretend(subject: Any, protocol: str, data: Any) -> Any:
        runs.append(subject.key)
        kept = {
            "fingerprint": comparison.fingerprint(subject, data),
            "figures": {"roc_auc": 0.7},
            "fit_seconds": 1.0,
        }
        return comparison.Outcome(np.full(data.frame.height, 0.5), kept)

    monkeypatch.setattr(comparison, "run", pretend)
    pair = (comparison.subjects(["forest"], ["all"])[0], "S")
    for _ in range(2):
        results = comparison.run_missing([pair], data, fresh=False)
    assert runs == ["forest|raw|all"]
    assert comparison.kept_scores(*pair, data, results).tolist() == [0.5] * 1_000
    comparison.run_missing([pair], data, fresh=True)
    assert len(runs) == 2
    results["runs"]["forest|raw|all|S"]["fingerprint"] = "of other settings"
    assert comparison.kept_scores(*pair, data, results) is None
    assert comparison.out_of_date(data, results) == ["forest|raw|all|S"]


def test_fingerprint_follows_the_matrix(comparison: ModuleType, data: Any) -> None:
    subject = comparison.subjects(["forest"], ["unprotected"])[0]
    changed = {
        name: comparison.Data(data.frame.with_columns(pl.col(name) + 1), "sha") for name in ("age", "pay_1")
    }
    assert comparison.fingerprint(subject, changed["age"]) == comparison.fingerprint(subject, data)
    assert comparison.fingerprint(subject, changed["pay_1"]) != comparison.fingerprint(subject, data)


# ── Page ────────────────────────────────────────────────────────────────────────────────────────


def run_of(area: float) -> dict[str, Any]:
    figures = {"roc_auc": area, "average_precision": 0.56, "ks": 0.44, "brier": 0.1324, "ece": 0.01}
    return {
        "figures": figures | {"ece_floor": 0.011},
        "fit_seconds": 2.0,
        "fit_cpu_seconds": 2.0,
        "rows_per_second": 500_000.0,
    }


@pytest.fixture
def results() -> dict[str, Any]:
    """Two models of three, S and CV, one of them ahead."""
    areas = {"blend|features|unprotected": 0.7925, "catboost|raw|all": 0.7849, "blend|features|all": 0.7915}
    ahead = {"value": 0.0076, "low": 0.0049, "high": 0.0101}
    return {
        "machine": {
            "architecture": "x86_64",
            "processors": 2,
            "python": "3.11",
            "packages": {"torch": "2"},
            "sources": "abc",
        },
        "data": {
            "rows": 100,
            "defaulters": 22,
            "training_rows": 70,
            "test_rows": 30,
            "training_rate": 0.22,
            "test_rate": 0.23,
        },
        "runs": {f"{key}|{p}": run_of(area) for key, area in areas.items() for p in ("S", "CV")},
        "differences": {"CV": {"blend|features|unprotected": {"catboost|raw|all": ahead}}, "S": {}},
        "calibration": {
            "unprotected": {
                "blend": {
                    "calibrator": "none",
                    "before": {"brier": 0.1324, "ece": 0.01, "ece_floor": 0.011, "mean_pd": 0.221},
                    "after": {"brier": 0.1324, "ece": 0.01, "ece_floor": 0.011, "mean_pd": 0.221},
                }
            }
        },
        "cuts": {"unprotected": {"blend": {"recall": 0.621, "precision": 0.479, "accuracy": 0.771}}},
        "monthly_set": {"seconds": 41.0, "clients": 30_000, "models": {"blend": 0.0}},
    }


@pytest.mark.parametrize(
    ("target", "default", "every"),
    [
        ("Blend, CV: ROC AUC ≥ 0.7920", "0.79250: met", "0.79150: **not met**"),
        ("Blend, CV: Brier score ≤ 0.1325", "0.13240: met", "0.13240: met"),
        ("Blend, S, at a recall of 0.62: precision ≥ 0.48", "0.47900: **not met**", "not measured"),
        (
            "Blend above CatBoost on all raw columns, CV: low end of the interval > 0",
            "+0.0049: met",
            "not measured",
        ),
        (
            "Blend above XGBoost on all raw columns, CV: low end of the interval > 0",
            "not measured",
            "not measured",
        ),
        ("Developing the whole monthly set: ≤ 90 s at 30,000 clients", "41.0: met", "not measured"),
        ("VAE with a head scores ≥ 400,000 rows/s from raw columns", "not measured", "not measured"),
    ],
)
def test_targets_are_judged_by_the_figures(
    models_page: ModuleType, results: dict[str, Any], target: str, default: str, every: str
) -> None:
    assert f"| {target} | {default} | {every} |" in models_page.page(results)


def test_page_names_what_was_not_measured_and_shows_no_empty_cell(
    models_page: ModuleType, results: dict[str, Any]
) -> None:
    page = models_page.page(results)
    assert "peer, raw columns, all attributes: XGBoost, LightGBM" in page
    assert not re.search(r"\|[ \t]+\|", page)
    assert "None" not in page
    assert "nan" not in page.lower().split()
    assert "+0.0076 [+0.0049, +0.0101]" in page


def test_page_of_no_run_is_still_a_page(models_page: ModuleType, results: dict[str, Any]) -> None:
    nothing = {name: results[name] for name in ("machine", "data")} | {"runs": {}}
    page = models_page.page(nothing)
    assert page.count("## ") >= 8
    assert "met" not in re.findall(r": (met|\*\*not met\*\*) \|", page)


@pytest.mark.parametrize(("wall", "busy"), [(2.0, False), (6.0, True)])
def test_busy_machine_is_told(
    models_page: ModuleType, results: dict[str, Any], wall: float, busy: bool
) -> None:
    for run in results["runs"].values():
        run["fit_seconds"] = wall
    assert ("The machine was busy" in models_page.page(results)) is busy


def test_short_reading_names_the_best_peer_of_each_kind(
    models_page: ModuleType, results: dict[str, Any]
) -> None:
    results["runs"]["mlp|features|all|CV"] = run_of(0.7739)
    results["differences"]["CV"]["blend|features|unprotected"]["mlp|features|all"] = {
        "value": 0.0186,
        "low": 0.0150,
        "high": 0.0220,
    }
    page = models_page.page(results)
    assert "ROC AUC of 0.7925 on CV and 0.7925 on S" in page
    assert "on raw columns, CatBoost, reaches 0.7849 on CV: the blend's lead is +0.0076 [" in page
    assert "on our features, scikit-learn MLP, reaches 0.7739 on CV: the blend's lead is +0.0186 [" in page


def test_figures_out_of_date_are_named(models_page: ModuleType, results: dict[str, Any]) -> None:
    assert "Out of date" not in models_page.page(results)
    assert "changed since: mlp|raw|all|S." in models_page.page(results | {"out_of_date": ["mlp|raw|all|S"]})


def test_tables_are_in_order_of_auc(models_page: ModuleType, results: dict[str, Any]) -> None:
    results["runs"]["xgboost|raw|all|CV"] = run_of(0.7860)
    page = models_page.page(results)
    table = page[page.index("## Protocol CV") : page.index("## Protocol S")]
    assert table.index("| XGBoost |") < table.index("| CatBoost |")


# ── Many clients ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def scored(tmp_path: Path) -> Callable[[int, list[float]], None]:
    """Writes a partition of two models' scores, in an order of its own."""

    def write(number: int, scores: list[float]) -> None:
        models = [model for model in ("blend", "logistic") for _ in scores]
        frame = pl.DataFrame(
            {
                "client_id": [f"{number}-{client}" for client in range(len(scores))] * 2,
                "model": models,
                "score": [score / 2 for score in scores] + scores,
                "pd": scores * 2,
            }
        )
        order = frame.sample(fraction=1, shuffle=True, seed=number)
        order.write_parquet(tmp_path / f"part-{number:04}.parquet")

    return write


def test_scores_of_partitions_are_counted_where_they_are_the_same(
    load: Load, tmp_path: Path, scored: Callable[[int, list[float]], None]
) -> None:
    for number in range(3):
        scored(number, [0.1, 0.2, 0.3])
    assert load("many_clients").checked(tmp_path) == (9, 18)


def test_a_partition_with_another_score_is_told(
    load: Load, tmp_path: Path, scored: Callable[[int, list[float]], None]
) -> None:
    scored(0, [0.1, 0.2, 0.3])
    scored(1, [0.1, 0.2, 0.30000000000000004])
    with pytest.raises(RuntimeError, match=r"part-0001\.parquet holds other scores than part-0000\.parquet"):
        load("many_clients").checked(tmp_path)


def test_a_page_names_the_processors_their_speed_and_the_code(load):
    machine = load("machine")
    said = machine.machine(["duckdb"])
    assert f"{os.cpu_count()} processors" in said
    assert f"duckdb {duckdb.__version__}; code {code_version()}" in said
    assert float(re.search(r"at (\d+) GFLOP/s", said)[1]) >= 1
