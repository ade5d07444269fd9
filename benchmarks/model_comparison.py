"""Holds our models against their peers on the UCI data set, and writes docs/models.md.

    python benchmarks/model_comparison.py FILE                   what is missing or out of date, then the page
    python benchmarks/model_comparison.py FILE --models peers    some of the models: names, `ours`, `peers`
    python benchmarks/model_comparison.py FILE --fresh           trains again what is kept
    python benchmarks/model_comparison.py FILE --tune            searches the peers' settings, or goes on
    python benchmarks/model_comparison.py --render               the page alone, from the figures kept

The peers need the extra `benchmark`. FILE is the UCI set as CSV with its original columns; without it,
CREDITFLOW_UCI_FILE names it.

Figures are kept in benchmarks/results/models.json, each under a fingerprint of what produced it: for ours the
source files behind the registry and the packages, for a peer its settings and package. Scores are kept in
build/ (one array a model and protocol), because differences need every model's scores at once.
"""

import argparse
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

# One thread a library, set before any is loaded; scoring speed comes from two workers instead.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import measures
import models_page
import numpy as np
import peers
import polars as pl
from fingerprints import packages, sources_digest, text_digest
from peers import PEERS, Inputs, Peer
from sklearn.model_selection import StratifiedKFold, train_test_split
from threadpoolctl import threadpool_limits

from creditflow.columns import ATTRIBUTE_NAMES, CLIENT_ID, OUTCOME
from models.features import Policy
from models.registry import MODELS, raw_score

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "models.md"
RESULTS = ROOT / "benchmarks" / "results" / "models.json"
SCORES = ROOT / "build" / "model_comparison"
SEED = 42
RECALL = 0.62
SPEED_ROWS, SPEED_CHUNK, SPEED_WORKERS, SPEED_REPEATS = 300_000, 50_000, 2, 3
POLICIES: tuple[Policy, ...] = get_args(Policy)

# S and CV as the page states them; T: five folds inside the training part of S, for choices.
Protocol = Literal["S", "CV", "T"]
Floats = np.ndarray


# ── What is measured ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Subject:
    """A model with the columns it takes: one of ours by its name in the registry, or a peer."""

    name: str
    inputs: Inputs
    peer: Peer | None = None

    @property
    def key(self) -> str:
        """Its name in the results."""
        return f"{self.name}|{self.inputs.view}|{self.inputs.policy}"

    @property
    def is_pd(self) -> bool:
        """Whether its raw score is a probability."""
        return self.name != "pyod_vae" if self.peer else MODELS[self.name].kind == "classifier"

    def build(self) -> Any:
        """The unfitted estimator."""
        if self.peer is None:
            from models.features import FeatureSet

            return MODELS[self.name].build(SEED, FeatureSet(self.inputs.policy))
        settings = peers.settings_of(self.peer, self.inputs.view)
        return self.peer.build(settings, SEED, self.inputs.code_indices)


def subjects(names: Sequence[str], policies: Sequence[Policy]) -> list[Subject]:
    """Every chosen model under every chosen policy, ours first."""
    ours = [Subject(n, Inputs("features", p)) for n in MODELS if n in names for p in policies]
    others = [
        Subject(peer.name, Inputs(view, policy), peer)
        for peer in PEERS.values()
        if peer.name in names
        for view in peer.views
        for policy in policies
    ]
    return ours + others


# ── Data and protocols ──────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Data:
    """The labelled clients in the order of their IDs, and the protocols' folds as row positions."""

    frame: pl.DataFrame
    sha256: str

    @cached_property
    def y(self) -> np.ndarray:
        """(n,) outcomes."""
        return self.frame[OUTCOME].cast(pl.Int64).to_numpy()

    @cached_property
    def _digests(self) -> dict[Inputs, str]:
        return {}

    def digest(self, inputs: Inputs) -> str:
        """Of the matrix itself: what merely rewords the code behind it makes no figure out of date."""
        if inputs not in self._digests:
            cells = np.ascontiguousarray(inputs.matrix(self.frame))
            self._digests[inputs] = text_digest(*inputs.names, hashlib.sha256(cells.tobytes()).hexdigest())
        return self._digests[inputs]

    @cached_property
    def training(self) -> np.ndarray:
        """Rows of the training part of S."""
        return self.folds("S")[0][0]

    def folds(self, protocol: Protocol) -> list[tuple[np.ndarray, np.ndarray]]:
        """(train, test) positions of each fold."""
        rows = np.arange(self.frame.height)
        if protocol == "S":
            train, test = train_test_split(rows, test_size=0.3, stratify=self.y, random_state=SEED)
            return [(train, test)]
        if protocol == "CV":
            return list(StratifiedKFold(5, shuffle=True, random_state=7).split(rows, self.y))
        inner = StratifiedKFold(5, shuffle=True, random_state=SEED)
        part = self.training
        return [(part[a], part[b]) for a, b in inner.split(part, self.y[part])]


def read(file: Path) -> Data:
    """Reads the UCI set: CSV in its original columns, whatever they are called."""
    raw = pl.read_csv(file)
    names = (CLIENT_ID, *ATTRIBUTE_NAMES, OUTCOME)
    frame = raw.rename(dict(zip(raw.columns, names, strict=True))).sort(CLIENT_ID)
    numbers = frame.select(pl.col(*ATTRIBUTE_NAMES, OUTCOME).cast(pl.Float64)).to_numpy(order="c")
    return Data(frame.cast({CLIENT_ID: pl.String}), hashlib.sha256(numbers.tobytes()).hexdigest())


def fingerprint(subject: Subject, data: Data) -> str:
    """A digest of everything that a model's scores depend on, but for the outcomes."""
    matrix = data.digest(subject.inputs)
    if subject.peer is None:
        return text_digest(matrix, sources_digest("models.registry"), packages("torch", "scikit-learn"))
    settings = json.dumps(peers.settings_of(subject.peer, subject.inputs.view), sort_keys=True)
    return text_digest(matrix, settings, packages(subject.peer.package))


# ── One model on one protocol ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Outcome:
    """What a protocol gave: scores of every row it tests (n,), NaN elsewhere, and the figures to keep."""

    scores: Floats
    kept: dict[str, Any]


def run(subject: Subject, protocol: Protocol, data: Data) -> Outcome:
    """Fits and scores every fold; on S also measures the speed of scoring from raw columns."""
    X = subject.inputs.matrix(data.frame)
    scores, figures = np.full(len(X), np.nan), []
    wall = cpu = 0.0
    folds = data.folds(protocol)
    for train, test in folds:
        estimator = subject.build()
        started, started_cpu = time.perf_counter(), time.process_time()
        with threadpool_limits(1):
            estimator.fit(X[train], data.y[train])
        wall, cpu = wall + time.perf_counter() - started, cpu + time.process_time() - started_cpu
        with threadpool_limits(1):
            scores[test] = raw_score(estimator, X[test])
        figures.append(measures.figures_of(data.y[test], scores[test], is_pd=subject.is_pd))
    speed = {"rows_per_second": _speed(subject, estimator, data.frame)} if protocol == "S" else {}
    return Outcome(
        scores,
        {
            "fingerprint": fingerprint(subject, data),
            "figures": measures.mean_of(figures),
            "fit_seconds": wall / len(folds),
            "fit_cpu_seconds": cpu / len(folds),
            **speed,
        },
    )


def _speed(subject: Subject, estimator: Any, clients: pl.DataFrame) -> float:
    """Rows a second from raw columns to score, by two workers that each take a chunk at a time."""
    copies = -(-SPEED_ROWS // clients.height)
    frame = pl.concat([clients.select(ATTRIBUTE_NAMES)] * copies).head(SPEED_ROWS).rechunk()
    chunks = [frame.slice(at, SPEED_CHUNK) for at in range(0, SPEED_ROWS, SPEED_CHUNK)]

    def score(chunk: pl.DataFrame) -> Floats:
        return raw_score(estimator, subject.inputs.matrix(chunk))

    seconds = []
    with threadpool_limits(1), ThreadPoolExecutor(SPEED_WORKERS) as workers:
        score(chunks[0].head(1_000))
        for _ in range(SPEED_REPEATS):
            started = time.perf_counter()
            list(workers.map(score, chunks))
            seconds.append(time.perf_counter() - started)
    return SPEED_ROWS / float(np.median(seconds))


# ── What is kept ────────────────────────────────────────────────────────────────────────────────


def load_results() -> dict[str, Any]:
    """The figures kept, or none."""
    return json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"runs": {}}


def save_results(results: dict[str, Any]) -> None:
    """Writes the figures, a half-written file never standing in their place."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    partial = RESULTS.with_suffix(".partial")
    partial.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", "utf-8")
    partial.replace(RESULTS)


def _scores_file(subject: Subject, protocol: Protocol, data: Data) -> Path:
    name = text_digest(subject.key, protocol, fingerprint(subject, data), data.sha256)
    return SCORES / f"{subject.name}-{subject.inputs.view}-{subject.inputs.policy}-{protocol}-{name}.npy"


def kept_scores(subject: Subject, protocol: Protocol, data: Data, results: dict[str, Any]) -> Floats | None:
    """Scores (n,) of a run whose figures are kept under today's fingerprint; None where it has to run."""
    kept = results["runs"].get(f"{subject.key}|{protocol}", {})
    file = _scores_file(subject, protocol, data)
    if kept.get("fingerprint") != fingerprint(subject, data) or not file.exists():
        return None
    return np.load(file, allow_pickle=False)


def run_missing(wanted: list[tuple[Subject, Protocol]], data: Data, *, fresh: bool) -> dict[str, Any]:
    """Runs what is not kept, and keeps each result as it comes; returns all figures."""
    if load_results().get("data", {}).get("sha256") not in (None, data.sha256):
        RESULTS.unlink()
    due = [pair for pair in wanted if fresh or kept_scores(*pair, data, load_results()) is None]
    print(f"{len(wanted)} runs wanted, {len(wanted) - len(due)} kept", flush=True)
    for number, (subject, protocol) in enumerate(due, 1):
        outcome = run(subject, protocol, data)
        file = _scores_file(subject, protocol, data)
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, outcome.scores, allow_pickle=False)
        # Read again before it is written: another command may have added its own results meanwhile.
        results = load_results()
        results["data"] = data_facts(data)
        results["runs"][f"{subject.key}|{protocol}"] = outcome.kept
        save_results(results)
        area, seconds = outcome.kept["figures"]["roc_auc"], outcome.kept["fit_seconds"]
        print(
            f"{number}/{len(due)} {subject.key} {protocol}: AUC {area:.4f}, fit {seconds:.1f} s", flush=True
        )
    return load_results()


def data_facts(data: Data) -> dict[str, Any]:
    """What was measured on."""
    train, test = data.folds("S")[0]
    return {
        "sha256": data.sha256,
        "rows": data.frame.height,
        "defaulters": int(data.y.sum()),
        "training_rows": len(train),
        "training_rate": float(data.y[train].mean()),
        "test_rows": len(test),
        "test_rate": float(data.y[test].mean()),
    }


# ── What follows from the scores ────────────────────────────────────────────────────────────────


def differences(data: Data, protocol: Protocol, results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Key of a model → key of another one → difference of their ROC AUC with its interval."""
    known = [
        (subject, scores)
        for subject in subjects([*MODELS, *PEERS], POLICIES)
        if _can_run(subject, data) and (scores := kept_scores(subject, protocol, data, results)) is not None
    ]
    if not known:
        return {}
    folds = [(data.y[test], [s[test] for _, s in known]) for _, test in data.folds(protocol)]
    keys = [subject.key for subject, _ in known]
    found = dict(zip(keys, measures.bootstrap_auc(folds), strict=True))
    return {a: {b: vars(found[a].minus(found[b])) for b in keys if _compared(a, b)} for a in keys}


def _can_run(subject: Subject, data: Data) -> bool:
    """Whether its package is here and its settings are known."""
    try:
        return bool(fingerprint(subject, data))
    except (ModuleNotFoundError, KeyError):
        return False


def out_of_date(data: Data, results: dict[str, Any]) -> list[str]:
    """Keys of the runs that today's code, settings or packages would make anew."""
    known = subjects([*MODELS, *PEERS], POLICIES)
    today = {subject.key: fingerprint(subject, data) for subject in known if _can_run(subject, data)}
    runs = results["runs"].items()
    return sorted(key for key, run in runs if run["fingerprint"] != today.get(key.rpartition("|")[0]))


def _compared(key: str, other: str) -> bool:
    """One of ours with every peer, and every model with itself under the other policy."""
    (name, view, policy), (other_name, other_view, other_policy) = key.split("|"), other.split("|")
    if (name, view) == (other_name, other_view):
        return policy != other_policy
    return name in MODELS and other_name in PEERS


def calibrations(data: Data, policy: Policy, results: dict[str, Any]) -> dict[str, Any]:
    """Of each of our models: Brier score, ECE and mean PD on the test rows of S, before and after.

    The calibrator is chosen on the cross-fitted scores of the training part (protocol T).
    """
    from models.calibration import choose_calibrator

    _, test = data.folds("S")[0]
    found: dict[str, Any] = {}
    for subject in subjects(list(MODELS), [policy]):
        fitted, scored = (kept_scores(subject, protocol, data, results) for protocol in ("T", "S"))
        if fitted is None or scored is None:
            continue
        inner = fitted[data.training]
        choice = choose_calibrator(inner, data.y[data.training], kind=MODELS[subject.name].kind, seed=SEED)
        after = choice.calibrator.predict(scored[test])
        found[subject.name] = {
            "calibrator": choice.calibrator.name,
            "before": _stated(data.y[test], scored[test]) if subject.is_pd else None,
            "after": _stated(data.y[test], after),
        }
    return found


def _stated(y: np.ndarray, pd: Floats) -> dict[str, float]:
    figures = measures.figures_of(y, pd, is_pd=True)
    return {n: figures[n] for n in ("brier", "ece", "ece_floor")} | {"mean_pd": float(pd.mean())}


def cuts(data: Data, policy: Policy, results: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Of each of our models: precision and accuracy on the test rows of S at the cut found on protocol T."""
    _, test = data.folds("S")[0]
    found = {}
    for subject in subjects(list(MODELS), [policy]):
        fitted, scored = (kept_scores(subject, protocol, data, results) for protocol in ("T", "S"))
        if fitted is not None and scored is not None:
            cut = measures.recall_cut(data.y[data.training], fitted[data.training], RECALL)
            found[subject.name] = measures.at_cut(data.y[test], scored[test], cut)
    return found


def _all_scored(data: Data, results: dict[str, Any]) -> bool:
    """Whether every one of our models could be trained on this code."""
    ours = subjects(list(MODELS), ["unprotected"])
    return all(kept_scores(subject, "S", data, results) is not None for subject in ours)


def monthly_set(data: Data) -> dict[str, Any]:
    """Wall time of developing the whole set as the monthly run does, on all clients."""
    from models.develop import develop

    started = time.perf_counter()
    developed = develop(data.frame, seed=SEED)
    return {
        "seconds": time.perf_counter() - started,
        "clients": data.frame.height,
        "models": {model.name: model.fit_seconds for model in developed},
        "fingerprint": sources_digest("models.develop"),
    }


def conclude(data: Data, results: dict[str, Any], *, fresh: bool) -> dict[str, Any]:
    """What follows from the runs together."""
    print("differences, calibration, cuts", flush=True)
    found: dict[str, Any] = {
        "data": data_facts(data),
        "machine": models_page.machine(),
        "out_of_date": out_of_date(data, results),
        "differences": {p: differences(data, p, results) for p in ("S", "CV")},
        "calibration": {policy: calibrations(data, policy, results) for policy in POLICIES},
        "cuts": {policy: cuts(data, policy, results) for policy in POLICIES},
    }
    kept = results.get("monthly_set", {}).get("fingerprint")
    if _all_scored(data, results) and (fresh or kept != sources_digest("models.develop")):
        print("the whole monthly set", flush=True)
        found["monthly_set"] = monthly_set(data)
    return found


# ── Command ─────────────────────────────────────────────────────────────────────────────────────


def tune(names: Sequence[str], data: Data) -> None:
    """Searches the settings of the tuned peers on the training part of S, with all attributes."""
    for peer in PEERS.values():
        for view in peer.views if peer.space and peer.name in names else ():
            inputs = Inputs(view, "all")
            X = inputs.matrix(data.frame)[data.training]
            peers.search(peer, inputs, X, data.y[data.training])


def protocols_of(subject: Subject, wanted: str) -> Iterator[Protocol]:
    """The protocols to run; ours also cross-fit the training part of S, where their choices are made."""
    if wanted in ("S", "both"):
        yield "S"
        if subject.peer is None:
            yield "T"
    if wanted in ("CV", "both"):
        yield "CV"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", type=Path, default=os.environ.get("CREDITFLOW_UCI_FILE"))
    parser.add_argument("--protocol", choices=("S", "CV", "both"), default="both")
    parser.add_argument("--attributes", choices=(*POLICIES, "both"), default="both")
    parser.add_argument("--models", nargs="+", choices=("ours", "peers", *MODELS, *PEERS), default=())
    parser.add_argument("--out", type=Path, default=PAGE)
    parser.add_argument("--fresh", action="store_true", help="train again what is kept")
    parser.add_argument("--tune", action="store_true", help="go on with the search of the peers' settings")
    parser.add_argument("--render", action="store_true", help="write the page from the figures kept")
    chosen = parser.parse_args()
    if chosen.file is None and not chosen.render:
        parser.error("name the UCI file, or set CREDITFLOW_UCI_FILE")
    return chosen


def _names(chosen: Sequence[str]) -> list[str]:
    groups = {"ours": list(MODELS), "peers": list(PEERS)}
    return [name for word in chosen or groups for name in groups.get(word, [word])]


def main() -> None:
    """Reads the command line and does what it says."""
    chosen = _arguments()
    if not chosen.render:
        data, names = read(Path(chosen.file)), _names(chosen.models)
        if chosen.tune:
            tune(names, data)
            return
        policies = POLICIES if chosen.attributes == "both" else (chosen.attributes,)
        wanted = [(s, p) for s in subjects(names, policies) for p in protocols_of(s, chosen.protocol)]
        results = run_missing(wanted, data, fresh=chosen.fresh)
        found = conclude(data, results, fresh=chosen.fresh)
        # Another command may have added runs meanwhile.
        save_results(load_results() | found)
    chosen.out.write_text(models_page.page(load_results()), "utf-8")
    print(chosen.out)


if __name__ == "__main__":
    main()
