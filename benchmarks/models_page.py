"""docs/models.md, from the figures kept in results/models.json, peers.json and tried.md."""

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fingerprints import sources_digest
from measures import DRAWS
from peers import KEPT, PEERS
from targets import TARGETS

from models.calibration import NOISE_DRAWS
from models.registry import MODELS

TRIED = Path(__file__).resolve().parent / "tried.md"
PACKAGES = ("catboost", "lightgbm", "numpy", "polars", "pyod", "scikit-learn", "torch", "xgboost")
POLICIES = {"unprotected": "default attributes", "all": "all attributes"}
VIEWS = {"raw": "raw columns", "features": "our features"}
# Wall time above CPU time by this much says that something else was running.
BUSY = 1.25
Results = Mapping[str, Any]


def machine() -> dict[str, Any]:
    """Processors and versions, without any name."""
    return {
        "architecture": platform.machine(),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "sources": sources_digest("models.registry"),
    }


def page(results: Results) -> str:
    """The whole page, Markdown. Runs that are missing are named, never shown as empty rows."""
    sections = [
        _head(results),
        _in_short(results),
        _targets(results),
        _protocols(results),
        *(_table(results, protocol) for protocol in ("CV", "S")),
        _differences(results),
        _attributes(results),
        _calibration(results),
        _decision(results),
        _monthly_set(results),
        _tuning(),
        _tried(),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


# ── Parts of tables ─────────────────────────────────────────────────────────────────────────────


def grid(head: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """A Markdown table; the first `words` columns hold words, the rest numbers."""
    rule = ["---"] * words + ["---:"] * (len(head) - words)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _title(name: str) -> str:
    return PEERS[name].title if name in PEERS else MODELS[name].title


def _run(results: Results, key: str, protocol: str) -> Mapping[str, Any] | None:
    return results["runs"].get(f"{key}|{protocol}")


def _ours(policy: str) -> list[str]:
    return [f"{name}|features|{policy}" for name in MODELS]


def _peers(view: str, policy: str) -> list[str]:
    return [f"{p.name}|{view}|{policy}" for p in PEERS.values() if view in p.views]


def _absent(results: Results, groups: Mapping[str, Sequence[str]], protocol: str) -> str:
    missing = {
        group: [_title(key.split("|")[0]) for key in keys if _run(results, key, protocol) is None]
        for group, keys in groups.items()
    }
    named = [f"{group}: {', '.join(titles)}" for group, titles in missing.items() if titles]
    return f"Not measured. {'; '.join(named)}." if named else ""


def _signed(found: Mapping[str, float]) -> str:
    return f"{found['value']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]"


# ── Sections ────────────────────────────────────────────────────────────────────────────────────


def _head(results: Results) -> str:
    facts, data = results["machine"], results["data"]
    packages = ", ".join(f"{name} {release}" for name, release in facts["packages"].items())
    lines = [
        "# The models beside their peers",
        "Written by `python benchmarks/model_comparison.py`; every figure is measured, none is typed. "
        "The cost of a whole monthly run stands in [benchmarks/README.md](../benchmarks/README.md).",
        f"Data: *Default of Credit Card Clients* (UCI, DOI 10.24432/C55S3H), {data['rows']:,} clients of "
        f"whom {data['defaulters']:,} defaulted. Machine: {facts['architecture']}, {facts['processors']} "
        f"processors; Python {facts['python']}; {packages}; code of the models {facts['sources']}.",
    ]
    return "\n\n".join([*lines, *_busy(results), *_out_of_date(results)])


def _busy(results: Results) -> list[str]:
    runs = [run for run in results["runs"].values() if "rows_per_second" in run]
    wall, cpu = (sum(run[name] for run in runs) for name in ("fit_seconds", "fit_cpu_seconds"))
    if wall <= BUSY * cpu:
        return []
    return [
        f"**The machine was busy with other work**: fits took {wall / cpu:.1f} times their CPU time, so rows "
        "per second and wall times are worse than they would be on a machine of their own."
    ]


def _out_of_date(results: Results) -> list[str]:
    keys = results.get("out_of_date", [])
    if not keys:
        return []
    return [f"**Out of date**, for code, settings or packages have changed since: {', '.join(keys)}."]


def _in_short(results: Results) -> str:
    """The blend under the default policy against the best peer on each kind of columns; no blend, no text."""
    blend = "blend|features|unprotected"
    areas = [run["figures"]["roc_auc"] for p in ("CV", "S") if (run := _run(results, blend, p))]
    if len(areas) < 2:
        return ""
    lines = [
        "## In short",
        "Without sex, marriage and age the blend of VAE and gradient boosting ranks clients with a ROC AUC "
        f"of {areas[0]:.4f} on CV and {areas[1]:.4f} on S. The peers are given all attributes:",
    ]
    return "\n\n".join([*lines, "\n".join(_best_peers(results, blend))])


def _best_peers(results: Results, ours: str) -> Iterator[str]:
    found = results.get("differences", {}).get("CV", {}).get(ours, {})
    for view, words in VIEWS.items():
        ranked = [pair for pair in _ranked(results, _peers(view, "all"), "CV") if pair[0] in found]
        if ranked:
            (key, run), difference = ranked[0], found[ranked[0][0]]
            yield (
                f"- the best of them on {words}, {_title(key.split('|')[0])}, reaches "
                f"{run['figures']['roc_auc']:.4f} on CV: the blend's lead is {_signed(difference)}."
            )


def _targets(results: Results) -> str:
    rows = [[target.text, *(target.verdict(results, policy) for policy in POLICIES)] for target in TARGETS]
    return "## Targets\n\n" + grid(["target", *POLICIES.values()], rows, 3)


def _protocols(results: Results) -> str:
    data = results["data"]
    return f"""## What was measured, and how

- **S**, the study's split: 70/30, stratified, `random_state=42`; {data["training_rows"]:,} clients to train
  on and {data["test_rows"]:,} to test on. The test rows took no part in any choice: peers were tuned, and
  calibrators and cuts chosen, inside the training part.
- **CV**: `StratifiedKFold(5, shuffle=True, random_state=7)` over all clients, mean of the five folds. S is
  one split, and a hard one: its figures run below those of CV.
- **Default attributes** leave sex, marriage and age out. **All attributes** are the study's 23.
- A peer sees either the **raw columns** as they stand or **our features**, the matrix that our own models
  take. Its settings come from a search on all attributes and serve both sets.
- **ROC AUC, AP (average precision), KS** judge the ranking, **Brier and ECE** the PD as the model gives it,
  before any calibrator. In brackets the *noise floor*: the ECE that exactly right PDs would show on as many
  clients, mean of {NOISE_DRAWS} simulated sets of outcomes. An anomaly score is no PD and has neither.
- **fit**: CPU seconds of one fit, on one thread. **rows/s**: from a polars frame of raw columns to the score,
  features included, by two workers of one thread each that take turns at chunks of the rows.
- **Differences** are paired: both models are scored on the same {DRAWS:,} seeded resamples of the test
  clients, and the 95 % interval is that of their difference. In CV each fold's clients are drawn within the
  fold, and a draw's figure is the mean over the folds. The trained models stay fixed: the interval tells what
  other clients would have changed, not what another training sample would."""


def _table(results: Results, protocol: str) -> str:
    groups = {
        "ours, default attributes": _ours("unprotected"),
        "ours, all attributes": _ours("all"),
        "peer, our features, all attributes": _peers("features", "all"),
        "peer, raw columns, all attributes": _peers("raw", "all"),
    }
    head = ["model", "what it is", "ROC AUC", "AP", "KS", "Brier", "ECE (floor)", "fit, CPU s"]
    speed = ["rows/s"] if protocol == "S" else []
    rows = [
        [_title(key.split("|")[0]), group, *_figures(run), *_rate(run, protocol)]
        for group, keys in groups.items()
        for key, run in _ranked(results, keys, protocol)
    ]
    table = grid([*head, *speed], rows, 2) if rows else ""
    parts = [f"## Protocol {protocol}", table, _absent(results, groups, protocol)]
    return "\n\n".join(filter(None, parts))


def _ranked(results: Results, keys: Sequence[str], protocol: str) -> list[tuple[str, Mapping[str, Any]]]:
    found = [(key, run) for key in keys if (run := _run(results, key, protocol)) is not None]
    return sorted(found, key=lambda pair: -pair[1]["figures"]["roc_auc"])


def _figures(run: Mapping[str, Any]) -> Iterator[str]:
    figures = run["figures"]
    yield from (f"{figures[name]:.4f}" for name in ("roc_auc", "average_precision", "ks"))
    is_pd = "brier" in figures
    yield f"{figures['brier']:.4f}" if is_pd else "no PD"
    yield f"{figures['ece']:.4f} ({figures['ece_floor']:.4f})" if is_pd else "no PD"
    yield f"{run['fit_cpu_seconds']:.1f}"


def _rate(run: Mapping[str, Any], protocol: str) -> list[str]:
    return [f"{run['rows_per_second']:,.0f}"] if protocol == "S" else []


def _differences(results: Results) -> str:
    columns = [(name, policy) for policy in POLICIES for name in ("blend", "vae_supervised")]
    peers = [*_peers("raw", "all"), *_peers("features", "all")]
    parts = []
    for protocol in ("CV", "S"):
        found = results.get("differences", {}).get(protocol, {})
        known = [(n, p) for n, p in columns if f"{n}|features|{p}" in found]
        rows = [
            [
                _title(key.split("|")[0]),
                VIEWS[key.split("|")[1]],
                *(_signed(found[f"{n}|features|{p}"][key]) for n, p in known),
            ]
            for key in peers
            if known and all(key in found[f"{n}|features|{p}"] for n, p in known)
        ]
        if rows:
            head = ["peer, all attributes", "on", *(f"{_title(n)}, {POLICIES[p]}" for n, p in known)]
            parts.append(f"Protocol {protocol}:\n\n{grid(head, rows, 2)}")
    body = "\n\n".join(parts) or "Not measured: it takes a model of ours and a peer on the same protocol."
    return (
        "## Paired differences of ROC AUC\n\nOurs minus the peer, with its 95 % interval. Peers have all "
        f"attributes even where ours have not.\n\n{body}"
    )


def _attributes(results: Results) -> str:
    keys = [f"{name}|features" for name in MODELS]
    keys += [f"{peer.name}|{view}" for peer in PEERS.values() for view in peer.views]
    rows = [
        [_title(key.split("|")[0]), VIEWS[key.split("|")[1]], *cells]
        for key in keys
        if all(cells := [cell for protocol in ("CV", "S") for cell in _cost(results, key, protocol)])
    ]
    head = ["model", "on"]
    for protocol in ("CV", "S"):
        head += [f"{protocol}, all", f"{protocol}, default", f"{protocol}, default minus all"]
    body = grid(head, rows, 2) if rows else "Not measured."
    return (
        "## What leaving sex, marriage and age out costs\n\nROC AUC with all attributes, with the default "
        f"ones, and the difference with its 95 % interval (negative: something is lost).\n\n{body}"
    )


def _cost(results: Results, key: str, protocol: str) -> list[str]:
    """Three cells; empty ones where something was not measured."""
    runs = [_run(results, f"{key}|{policy}", protocol) for policy in ("all", "unprotected")]
    found = results.get("differences", {}).get(protocol, {}).get(f"{key}|unprotected", {})
    difference = found.get(f"{key}|all")
    if difference is None:
        return [""] * 3
    return [*(f"{run['figures']['roc_auc']:.4f}" for run in runs if run), _signed(difference)]


def _calibration(results: Results) -> str:
    data, parts = results["data"], []
    for policy, label in POLICIES.items():
        rows = [
            _calibrated(name, row) for name, row in results.get("calibration", {}).get(policy, {}).items()
        ]
        if rows:
            head = ["model", "calibrator", "Brier before", "after", "ECE before", "after", "floor"]
            parts.append(f"{label.capitalize()}:\n\n{grid([*head, 'mean PD before', 'after'], rows, 2)}")
    body = "\n\n".join(parts) or "Not measured."
    return (
        "## Calibration, before and after\n\nOn the test rows of S, of whom "
        f"{data['test_rate']:.4f} defaulted (in the training part {data['training_rate']:.4f}). The "
        "calibrator is the simplest whose Brier score on cross-fitted scores of the training part is not "
        "worse than the lowest by more than one standard error; “none” is the simplest of all. The model "
        "itself is fitted on the whole training part. An ECE near the floor cannot be told from perfect "
        f"calibration on as many clients.\n\n{body}"
    )


def _calibrated(name: str, row: Mapping[str, Any]) -> list[str]:
    before, after = row["before"] or {}, row["after"]
    cells = []
    for figure in ("brier", "ece", "mean_pd"):
        cells += [f"{before[figure]:.4f}" if before else "no PD", f"{after[figure]:.4f}"]
        cells += [f"{after['ece_floor']:.4f}"] if figure == "ece" else []
    return [_title(name), row["calibrator"], *cells]


def _decision(results: Results) -> str:
    found = results.get("cuts", {})
    rows = [
        [_title(name), POLICIES[policy], *(f"{row[x]:.3f}" for x in ("recall", "precision", "accuracy"))]
        for policy in POLICIES
        for name in MODELS
        if (row := found.get(policy, {}).get(name))
    ]
    head = ["model", "what it is", "recall", "precision", "accuracy"]
    body = grid(head, rows, 2) if rows else "Not measured."
    return (
        "## At the study's recall\n\nThe study's VAE-based model found 0.62 of the defaulters on the test "
        "rows of S with a precision of 0.47 and an accuracy of 0.76. Our cut is the score that finds 0.62 of "
        f"the defaulters in cross-fitted scores of the training part; the test rows then gave:\n\n{body}"
    )


def _monthly_set(results: Results) -> str:
    found = results.get("monthly_set")
    if found is None:
        return ""
    rows = [[_title(name), f"{found['models'][name]:.1f}"] for name in MODELS if name in found["models"]]
    return (
        f"## The monthly set\n\nDeveloping every model on {found['clients']:,} clients as the monthly run "
        "does, default attributes, wall time: split, fit, calibrate, evaluate. A blend is put together from "
        "members that are fitted anyway.\n\n"
        + grid(["model", "fit, s"], [*rows, ["**all, with everything else**", f"{found['seconds']:.1f}"]])
    )


def _tuning() -> str:
    kept = json.loads(KEPT.read_text("utf-8"))
    rows = [
        [PEERS[name].title, VIEWS[view], str(len(found["trials"])), f"{found['roc_auc']:.4f}", _worded(found)]
        for name, views in kept.items()
        for view, found in sorted(views.items(), reverse=True)
    ]
    fixed = [f"{p.title} ({_words(p.fixed) or 'as it comes'})" for p in PEERS.values() if not p.space]
    return (
        "## How the peers were tuned\n\nA seeded random search inside the training part of S, all "
        "attributes, by mean ROC AUC of three stratified folds; every trial is kept in "
        "[benchmarks/peers.json](../benchmarks/peers.json). Not tuned: "
        f"{', '.join(fixed)}.\n\n"
        + grid(["peer", "on", "settings tried", "best, inner folds", "chosen"], rows, 2)
    )


def _worded(found: Mapping[str, Any]) -> str:
    return _words(found["chosen"])


def _words(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _tried() -> str:
    """The hand-kept findings, under this page's own heading."""
    return f"## Tried, and did not help\n\n{TRIED.read_text('utf-8').strip()}"
