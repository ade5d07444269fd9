"""The peers of the model comparison: what each is, how it is built, and how its settings were found.

A peer sees the same clients as our models, either on the *raw* attributes, as anyone would start, or on our
*features*. All train on one thread. The settings of a tuned peer come from a seeded random search by
cross-validation inside the training part of protocol S (`search`), kept with every score in peers.json.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from creditflow.columns import ATTRIBUTE_NAMES, CODE_NAMES
from models.features import PROTECTED, FeatureSet, Policy
from models.registry import raw_score

View = Literal["raw", "features"]
Settings = dict[str, Any]

KEPT = Path(__file__).resolve().parent / "peers.json"
SEED = 42
FOLDS = 3


# ── What a model sees ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Inputs:
    """The columns that a peer takes: the raw attributes or our features, under a policy."""

    view: View
    policy: Policy

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        if self.view == "features":
            return FeatureSet(self.policy).names
        return tuple(n for n in ATTRIBUTE_NAMES if self.policy == "all" or n not in PROTECTED)

    @property
    def code_indices(self) -> tuple[int, ...]:
        """Positions of the coded columns."""
        if self.view == "features":
            return FeatureSet(self.policy).code_indices
        return tuple(i for i, name in enumerate(self.names) if name in CODE_NAMES)

    def matrix(self, clients: pl.DataFrame) -> np.ndarray:
        """(n, p) float64, columns as in `names`."""
        if self.view == "features":
            return FeatureSet(self.policy).matrix(clients)
        return clients.select(pl.col(self.names).cast(pl.Float64)).to_numpy(order="c")


# ── Estimators ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Peer:
    """One peer: `build(settings, seed, codes)` gives an unfitted estimator; `codes` are the coded columns.

    `space` lists the values that the search draws from, empty where nothing is tuned; `draws` is how many
    settings it tries. Where nothing is tuned the settings are `fixed`.
    """

    name: str
    title: str
    package: str
    views: tuple[View, ...]
    build: Callable[[Settings, int, tuple[int, ...]], Any]
    fixed: Mapping[str, Any]
    space: Mapping[str, tuple[Any, ...]]
    draws: int = 0

    @property
    def release(self) -> str:
        """Installed version of its package."""
        return version(self.package)


class Coded:
    """A CatBoost classifier of a matrix, some of whose columns it takes as categories."""

    def __init__(self, classifier: Any, codes: tuple[int, ...]) -> None:
        self.classifier, self.codes = classifier, codes

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Learn X (n, p) and y (n,)."""
        self.classifier.fit(self._table(X), y, cat_features=list(self.codes))
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """(n, 2) probabilities."""
        return self.classifier.predict_proba(self._table(X))

    def _table(self, X: np.ndarray) -> Any:
        import pandas as pd

        table = pd.DataFrame(X)
        return table.astype(dict.fromkeys(self.codes, "int64"))


class OneClass:
    """A PyOD detector trained on the clients who paid; a higher score is stranger."""

    def __init__(self, detector: Any) -> None:
        self.detector = detector

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Learn the rows of X (n, p) whose y (n,) is 0."""
        self.detector.fit(X[y == 0])
        return self

    def anomaly_score(self, X: np.ndarray) -> np.ndarray:
        """(n,) higher = stranger."""
        return self.detector.decision_function(X)


def _xgboost(settings: Settings, seed: int, codes: tuple[int, ...]) -> Any:
    from xgboost import XGBClassifier

    del codes
    return XGBClassifier(**settings, tree_method="hist", n_jobs=1, random_state=seed, verbosity=0)


def _lightgbm(settings: Settings, seed: int, codes: tuple[int, ...]) -> Any:
    from lightgbm import LGBMClassifier

    del codes
    return LGBMClassifier(**settings, subsample_freq=1, n_jobs=1, random_state=seed, verbosity=-1)


def _catboost(settings: Settings, seed: int, codes: tuple[int, ...]) -> Any:
    from catboost import CatBoostClassifier

    rest = {name: value for name, value in settings.items() if name != "codes"}
    classifier = CatBoostClassifier(
        **rest, thread_count=1, random_seed=seed, verbose=False, allow_writing_files=False
    )
    return Coded(classifier, codes) if settings["codes"] == "categories" else classifier


def _mlp(settings: Settings, seed: int, codes: tuple[int, ...]) -> Any:
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    del codes
    sizes = tuple(settings["hidden_layer_sizes"])
    network = MLPClassifier(
        **{**settings, "hidden_layer_sizes": sizes}, early_stopping=True, random_state=seed
    )
    return make_pipeline(StandardScaler(), network)


def _forest(settings: Settings, seed: int, codes: tuple[int, ...]) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    del codes
    return RandomForestClassifier(**settings, n_jobs=1, random_state=seed)


def _logistic(settings: Settings, seed: int, codes: tuple[int, ...]) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    del codes
    return make_pipeline(StandardScaler(), LogisticRegression(**settings, random_state=seed))


def _pyod_vae(settings: Settings, seed: int, codes: tuple[int, ...]) -> Any:
    from pyod.models.vae import VAE

    del codes
    return OneClass(VAE(**settings, random_state=seed, device="cpu", verbose=0))


_BOTH: tuple[View, ...] = ("raw", "features")
_RAW: tuple[View, ...] = ("raw",)

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(
            "catboost",
            "CatBoost",
            "catboost",
            _BOTH,
            _catboost,
            {},
            {
                "iterations": (300, 500, 800),
                "learning_rate": (0.02, 0.03, 0.05),
                "depth": (4, 5, 6, 7),
                "l2_leaf_reg": (3, 10, 30),
                "random_strength": (1, 3),
                "rsm": (0.3, 0.6, 1.0),
                "codes": ("numbers", "categories"),
            },
            24,
        ),
        Peer(
            "xgboost",
            "XGBoost",
            "xgboost",
            _BOTH,
            _xgboost,
            {},
            {
                "n_estimators": (200, 300, 450, 600),
                "learning_rate": (0.015, 0.03, 0.05),
                "max_depth": (3, 4, 5, 6),
                "min_child_weight": (3, 10, 30),
                "reg_lambda": (1, 10, 30),
                "subsample": (0.6, 0.8, 1.0),
                "colsample_bytree": (0.2, 0.4, 0.7),
            },
            30,
        ),
        Peer(
            "lightgbm",
            "LightGBM",
            "lightgbm",
            _BOTH,
            _lightgbm,
            {},
            {
                "n_estimators": (200, 300, 450, 600),
                "learning_rate": (0.015, 0.03, 0.05),
                "num_leaves": (7, 12, 20, 31),
                "min_child_samples": (20, 60, 150),
                "reg_lambda": (1, 10, 30),
                "subsample": (0.6, 0.8, 1.0),
                "colsample_bytree": (0.2, 0.4, 0.7),
            },
            30,
        ),
        Peer(
            "mlp",
            "scikit-learn MLP",
            "scikit-learn",
            _BOTH,
            _mlp,
            {},
            {
                "hidden_layer_sizes": ([32], [64], [128], [64, 32]),
                "alpha": (0.0001, 0.01, 0.3, 3.0),
                "learning_rate_init": (0.0005, 0.001, 0.003),
                "batch_size": (128, 512),
            },
            12,
        ),
        Peer(
            "forest",
            "random forest",
            "scikit-learn",
            _RAW,
            _forest,
            {"n_estimators": 300, "min_samples_leaf": 20},
            {},
        ),
        Peer("logistic_raw", "logistic regression", "scikit-learn", _RAW, _logistic, {"max_iter": 1000}, {}),
        Peer("pyod_vae", "PyOD VAE, one-class", "pyod", _RAW, _pyod_vae, {}, {}),
    )
}


# ── Settings ────────────────────────────────────────────────────────────────────────────────────


def settings_of(peer: Peer, view: View) -> Settings:
    """The settings that the benchmark runs a peer with.

    Raises:
        KeyError: the peer is tuned and no search of this view is kept.
    """
    if not peer.space:
        return dict(peer.fixed)
    return _kept()[peer.name][view]["chosen"]


def drawn(space: Mapping[str, tuple[Any, ...]], draws: int, seed: int) -> Iterator[Settings]:
    """`draws` settings, all different, each value drawn evenly from its list."""
    rng, seen = np.random.default_rng(seed), set[tuple[int, ...]]()
    if draws > np.prod([len(values) for values in space.values()]):
        raise ValueError(f"{draws} draws from a space that has fewer settings")
    while len(seen) < draws:
        places = tuple(int(rng.integers(len(values))) for values in space.values())
        if places not in seen:
            seen.add(places)
            yield {name: values[at] for (name, values), at in zip(space.items(), places, strict=True)}


def search(
    peer: Peer, inputs: Inputs, X: np.ndarray, y: np.ndarray, tell: Callable[[str], None] = print
) -> None:
    """Random search by ROC AUC, mean of three stratified folds of X (n, p), y (n,).

    Every trial is kept in peers.json as it ends, with the best so far as `chosen`; a search that was broken
    off goes on where it stopped.
    """
    known = _kept().get(peer.name, {}).get(inputs.view, {}).get("trials", [])
    trials: list[dict[str, Any]] = []
    for number, settings in enumerate(drawn(peer.space, peer.draws, SEED), 1):
        trial = next((trial for trial in known if trial["settings"] == settings), None)
        if trial is None:
            started = time.perf_counter()
            area = _folds_auc(peer, settings, inputs, X, y)
            trial = {"roc_auc": round(area, 6), "settings": settings}
            seconds = time.perf_counter() - started
            tell(f"{peer.name} {inputs.view} {number}/{peer.draws}: {area:.4f}, {seconds:.0f} s, {settings}")
        trials.append(trial)
        keep(peer.name, inputs.view, trials)


def _folds_auc(peer: Peer, settings: Settings, inputs: Inputs, X: np.ndarray, y: np.ndarray) -> float:
    areas = []
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(X, y):
        with threadpool_limits(1):
            estimator = peer.build(settings, SEED, inputs.code_indices).fit(X[train], y[train])
            areas.append(roc_auc_score(y[test], raw_score(estimator, X[test])))
    return float(np.mean(areas))


def _kept() -> dict[str, Any]:
    return json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}


def keep(name: str, view: View, trials: Sequence[dict[str, Any]]) -> None:
    """Writes a search's trials and the best of them into peers.json; other searches stay as they are."""
    kept, best = _kept(), max(trials, key=lambda trial: trial["roc_auc"])
    found = {"chosen": best["settings"], "roc_auc": best["roc_auc"], "trials": trials}
    kept.setdefault(name, {})[view] = found
    KEPT.write_text(_lines({n: kept[n] for n in PEERS if n in kept}), "utf-8")


def _lines(kept: Mapping[str, Any]) -> str:
    """JSON with a trial a line, so that a change of the file can be read."""
    peers = []
    for name, views in kept.items():
        parts = []
        for view, found in sorted(views.items(), reverse=True):
            trials = ",\n".join(f"        {json.dumps(trial)}" for trial in found["trials"])
            parts.append(
                f'    "{view}": {{\n      "chosen": {json.dumps(found["chosen"])},\n'
                f'      "roc_auc": {found["roc_auc"]},\n      "trials": [\n{trials}\n      ]\n    }}'
            )
        peers.append(f'  "{name}": {{\n' + ",\n".join(parts) + "\n  }")
    return "{\n" + ",\n".join(peers) + "\n}\n"
