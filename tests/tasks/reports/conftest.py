"""A small warehouse with three kinds of month, and a headless Chromium to open pages in."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from creditflow.columns import AMOUNT_NAMES, ATTRIBUTE_NAMES, ATTRIBUTES, CLIENT_SCHEMA
from creditflow.month import Month
from sql.library import scripts

AWAITING, REALISED, LIVE = "2005-03", "2005-04", "2005-05"
MARKUP_ID = "<script>alert(1)</script>"
LONG_LABEL = "L" * 200
VERSION = "2005-04-1f0c9a7e"
BINNED = ("score", "limit_bal", "pay_1")  # variables with bins: few, for each costs a chart
MODELS = ("logistic", "vae_anomaly", "vae_supervised")
_START = datetime(2005, 6, 1, 6, 0, 0)
_BETWEEN, _IN_SET = "expect_column_values_to_be_between", "expect_column_values_to_be_in_set"
_CHECKS = [  # rule, expectation, column, severity, meaning, outcome, evaluated, unexpected, examples, reason
    ("columns_present", "columns", None, "critical", "all 24 columns are there", "passed", 24, 0, [], None),
    ("limit_positive", _BETWEEN, "limit_bal", "warning", "limit above zero", "failed", 503, 1, ["-5"], None),
    ("age_in_range", _BETWEEN, "age", "warning", "18 to 100 years", "failed", 503, 1, [LONG_LABEL], None),
    ("bill_is_number", "type", "bill_amt1", "warning", "a number", "passed", 503, 0, [], None),
    ("documented", _IN_SET, "education", "info", "documented", "failed", 500, 21, ["0", "5", "6"], None),
    ("returning", "share", "client_id", "info", "known clients", "not run", 0, 0, [], "no earlier month"),
]
_INSERT_SCORES = """
INSERT INTO score_rows
SELECT ?, client_id, ?, ?, score, pd, points, grade, CASE WHEN ? THEN pd >= 0.18 END
FROM graded
"""
_INSERT_MODEL = """
INSERT INTO models VALUES
(?, ?, '2005-04', ['2005-02', '2005-03'], 21000, 4646, ?, ?, ?, 42, 3.21, 'c0dec0dec0de', ?, ?,
 'unprotected', 'beta', 0.18, NULL)
"""

# --- Synthetic clients ----------------------------------------------------------------------------


def clients_frame(count: int, seed: int, shift: float = 1.0) -> pl.DataFrame:
    """Clients with the real data's shapes; `shift` multiplies every amount. Two IDs are hostile texts."""
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=count)
    codes = {
        "sex": rng.integers(1, 3, count),
        "education": rng.choice([0, 1, 2, 3, 4, 5, 6], count, p=[0.01, 0.35, 0.45, 0.15, 0.01, 0.02, 0.01]),
        "marriage": rng.choice([0, 1, 2, 3], count, p=[0.01, 0.45, 0.52, 0.02]),
        "age": rng.integers(21, 75, count),
        **{
            f"pay_{n}": np.clip(np.round(risk + rng.normal(scale=0.7, size=count)), -2, 8)
            for n in range(1, 7)
        },
    }
    amounts = {name: np.round(rng.lognormal(9.5, 1.1, count) * shift, 0) for name in AMOUNT_NAMES}
    amounts["bill_amt1"] = amounts["bill_amt1"] - 2000.0
    ids = [MARKUP_ID, LONG_LABEL, *(f"{n:07d}" for n in range(2, count))]
    frame = pl.DataFrame({"client_id": ids, **codes, **amounts}).select(
        pl.col(name).cast(dtype) for name, dtype in CLIENT_SCHEMA.items()
    )
    return frame.with_columns(row_number=pl.int_range(1, count + 1))


def scored(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The frame with `score`, `pd` and an outcome `defaulted` drawn from the PD."""
    rng = np.random.default_rng(seed)
    score = -1.9 + 0.8 * frame["pay_1"].to_numpy() + rng.normal(scale=0.4, size=frame.height)
    pd = 1 / (1 + np.exp(-score))
    return frame.with_columns(
        score=pl.Series(score),
        pd=pl.Series(pd),
        defaulted=pl.Series((rng.random(frame.height) < pd).astype(np.int8)),
    )


@pytest.fixture(scope="session")
def reference() -> pl.DataFrame:
    """A development sample: the attributes, score, pd and defaulted."""
    return scored(clients_frame(500, seed=1), seed=2).select(*ATTRIBUTE_NAMES, "score", "pd", "defaulted")


# --- The warehouse --------------------------------------------------------------------------------


def migrate(con: duckdb.DuckDBPyConnection) -> None:
    for script in scripts("migrations"):
        con.execute(script.text)


def fill_warehouse(con: duckdb.DuckDBPyConnection, clients: int) -> None:
    """Three months as the monthly run would leave them."""
    migrate(con)
    add_month(con, AWAITING, clients, seed=10, outcomes=False, models=False)
    add_month(con, REALISED, clients, seed=20, outcomes=True)
    add_month(con, LIVE, clients, seed=30, outcomes=False, shift=1.7)


def add_month(
    con: duckdb.DuckDBPyConnection,
    month: str,
    clients: int,
    *,
    seed: int,
    outcomes: bool,
    models: bool = True,
    shift: float = 1.0,
) -> None:
    """One month's rows in every table."""
    frame = scored(clients_frame(clients, seed, shift), seed + 1)
    _add_files(con, month, frame, outcomes)
    _add_checks(con, month)
    _add_runs(con, month, models)
    if outcomes:
        known = frame.select("client_id", "defaulted")  # noqa: F841
        con.execute(
            "INSERT INTO outcomes SELECT ?, client_id, defaulted, 'outcomes', ? FROM known",
            [month, sha(month, "0")],
        )
    _add_rules(con, month, models)
    if models:
        _add_scores(con, month, frame)
        _add_reasons(con, month, frame)
        _add_drift(con, month, clients, shift)
        _add_performance(con, month, clients, outcomes)
        add_assessment(con, month)


def sha(month: str, kind: str) -> str:
    return (month.replace("-", "") + kind).ljust(64, "a")


def _add_files(con: duckdb.DuckDBPyConnection, month: str, frame: pl.DataFrame, outcomes: bool) -> None:
    accepted = frame.height
    rows = [
        (
            month,
            "clients",
            sha(month, "c"),
            f"clients_{month}.csv",
            2_345_678,
            1,
            True,
            False,
            accepted + 3,
            accepted,
            3,
        )
    ]
    if outcomes:
        rows.append(
            (
                month,
                "outcomes",
                sha(month, "0"),
                f"outcomes_{month}.csv",
                34_567,
                1,
                True,
                False,
                accepted,
                accepted,
                0,
            )
        )
    con.executemany(
        "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'c0dec0dec0de', ?, ?)",
        [(*row, f"run-{month}", _START) for row in rows],
    )
    stored = frame.select(*CLIENT_SCHEMA, "row_number")  # noqa: F841
    con.execute(
        "INSERT INTO clients BY NAME SELECT ? AS month, ? AS file_sha256, * FROM stored",
        [month, sha(month, "c")],
    )
    broken = [
        (17, MARKUP_ID, "limit_bal_positive", "limit_bal", "-5"),
        (18, LONG_LABEL, "age_in_range", "age", LONG_LABEL),
        (40, None, "client_id_present", "client_id", None),
    ]
    con.executemany(
        "INSERT INTO quarantine VALUES (?, 'clients', ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                month,
                sha(month, "c"),
                row,
                client,
                rule,
                column,
                value,
                json.dumps([rule]),
                json.dumps({"ID": client, column: value}),
            )
            for row, client, rule, column, value in broken
        ],
    )


def _add_checks(con: duckdb.DuckDBPyConnection, month: str) -> None:
    con.executemany(
        "INSERT INTO expectation_results VALUES (?, 'clients', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (month, sha(month, "c"), position, *check[:8], json.dumps(check[8]), check[9])
            for position, check in enumerate(_CHECKS)
        ],
    )


def _add_runs(con: duckdb.DuckDBPyConnection, month: str, models: bool) -> None:
    con.execute(
        "INSERT INTO runs VALUES (?, ?, 'run', 'done', ?, ?, 'c0dec0dec0de', 'f1', ?, NULL, 4711, NULL)",
        [
            f"run-{month}",
            month,
            _START,
            _START + timedelta(seconds=14),
            "scored" if models else "awaiting a first model",
        ],
    )
    decision = (
        (
            "retrain",
            "champion_age",
            "7 months",
            "6 months",
            "the champion is older than the limit",
            MODELS[0],
            VERSION,
        )
        if models
        else (
            "wait",
            "no_label",
            "0 labelled months",
            "1 labelled month",
            "no outcome is known anywhere",
            None,
            None,
        )
    )
    con.execute(
        "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [month, *decision, f"run-{month}", _START],
    )


def _add_scores(con: duckdb.DuckDBPyConnection, month: str, frame: pl.DataFrame) -> None:
    grades = ["A", "B", "C", "D", "E", "F"]
    graded = frame.select(  # noqa: F841
        "client_id",
        "score",
        "pd",
        points=(600 - 50 * pl.col("score")).cast(pl.Int16),
        grade=pl.col("pd").bin_intervals([0.05, 0.1, 0.2, 0.35, 0.6], labels=grades).cast(pl.String),
    )
    con.execute(
        "INSERT INTO scorings VALUES (?, ?, ?, 'live', ?, ?, 'c0dec0dec0de', ?)",
        [month, MODELS[0], VERSION, f"run-{month}", sha(month, "c"), _START],
    )
    for place, model in enumerate(MODELS):
        con.execute(_INSERT_SCORES, [month, model, place == 0, place == 0])
        if con.execute("SELECT count(*) FROM models WHERE model = ?", [model]).fetchall()[0][0] == 0:
            con.execute(
                _INSERT_MODEL,
                [model, VERSION, "d" * 64, "e" * 64, f"artifacts/{VERSION}/{model}", f"run-{month}", _START],
            )


_RULES = [  # rule, value, threshold, met, reason
    ("no_champion", "champion of 2005-04", "none", False, "a champion is in force"),
    ("asked_for", "no", "yes", False, "nobody asked for new models"),
    ("champion_age", "7 months", "6 months", True, "the champion is older than the limit"),
    ("score_drift", "not computed", "0.25", None, "the month before has no drift"),
]
_AWAITING_RULES = [("no_champion", "none", "one", None, "no outcome is known anywhere")]
_GATE = [  # name, value, low, high, threshold, passed, reason
    ("AUC not inferior", -0.004, -0.011, 0.003, -0.02, True, "its lower end is above the margin"),
    ("AUC not lower", -0.004, None, None, 0.0, False, "the champion ranked the same clients better"),
    ("Brier", 0.0011, -0.0003, 0.0026, 0.005, True, "higher by less than the margin"),
    ("calibration", 0.0021, -0.012, 0.016, 0.014, True, "mean PD and observed rate agree within noise"),
    ("stability", None, None, None, 0.25, None, "not run: the month at hand is not scored yet"),
]


def _add_rules(con: duckdb.DuckDBPyConnection, month: str, models: bool) -> None:
    """Rules of the month; a first champion in the first month with models, a gate that refused in LIVE."""
    rules = _RULES if models else _AWAITING_RULES
    con.executemany(
        "INSERT INTO retrain_rules VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(month, place, *rule) for place, rule in enumerate(rules, 1)],
    )
    if month == REALISED:
        con.execute(
            "INSERT INTO promotions VALUES ('p1', ?, 'first', ?, ?, NULL, NULL, 'highest held-out ROC AUC',"
            " 'creditflow', ?, ?)",
            [month, MODELS[0], VERSION, _START, f"run-{month}"],
        )
    if month == LIVE:
        con.executemany(
            "INSERT INTO gate_checks VALUES (?, ?, ?, ?, ?, ?, '2005-04', 4400, 971, ?, ?, ?, ?, ?, ?, ?)",
            [(month, n, MODELS[2], VERSION, MODELS[0], VERSION, *check) for n, check in enumerate(_GATE, 1)],
        )


def _add_reasons(con: duckdb.DuckDBPyConnection, month: str, frame: pl.DataFrame) -> None:
    """Reasons from the list itself for every client; the third and fourth places stay free for some."""
    from models.reasons import reason_texts

    if con.execute("SELECT count(*) FROM reason_texts").fetchall()[0][0] == 0:
        con.executemany(
            "INSERT INTO reason_texts VALUES (?, ?, ?)", [tuple(t.values()) for t in reason_texts()]
        )
    codes = [t["code"] for t in reason_texts()]
    columns = ["utilisation_1", "bill_amt3", "status_2", "payment_ratio_mean"]
    places = range(frame.height)
    rows = frame.select(  # noqa: F841
        "client_id",
        pl.lit(month).alias("month"),
        pl.lit(MODELS[0]).alias("model"),
        pl.lit(VERSION).alias("version"),
        pl.lit(-1.41).alias("base_log_odds"),
        *(
            pl.Series(f"reason_{n}", [codes[(i * n) % len(codes)] if i % n == 0 else None for i in places])
            for n in (1, 2, 3, 4)
        ),
        *(
            pl.Series(f"contribution_{n}", [1.6 / n if i % n == 0 else None for i in places])
            for n in (1, 2, 3, 4)
        ),
        *(pl.Series(f"unusual_{n}", [columns[(i + n) % len(columns)] for i in places]) for n in (1, 2, 3)),
        *(
            pl.Series(f"deformation_{n}", [(-1) ** i * (5.5 - n + i / 100) for i in places])
            for n in (1, 2, 3)
        ),
    )
    con.execute("INSERT INTO reasons BY NAME FROM rows")


def _add_drift(con: duckdb.DuckDBPyConnection, month: str, clients: int, shift: float) -> None:
    moved = 0.0 if shift == 1.0 else 0.3
    facts = [("score", "psi", 0.031 + moved / 3, None)]
    facts += [
        (a.name, "csi", 0.005 + 0.002 * n + (moved if a.role == "amount" and n % 3 == 0 else 0), None)
        for n, a in enumerate(ATTRIBUTES)
        if a.name != "sex"
    ]
    facts.append(("sex", "csi", None, "one value only in the reference sample"))
    for name, statistic, value, reason in facts:
        band = (
            "not run"
            if value is None
            else "stable"
            if value < 0.1
            else "moderate"
            if value < 0.25
            else "significant"
        )
        con.execute(
            "INSERT INTO drift VALUES (?, ?, ?, ?, ?, 500, ?, ?, ?, ?)",
            [month, name, statistic, value, band, clients, MODELS[0], VERSION, reason],
        )
    rows = [
        (
            month,
            name,
            b,
            f"({1000 * b:,}, {1000 * (b + 1):,}]",
            0.1,
            0.1 + 0.004 * (b - 4.5) * (1 + moved * 10),
            0.0004,
        )
        for name, _, value, _ in facts
        if name in BINNED
        for b in range(10)
    ]
    con.executemany("INSERT INTO drift_bins VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def _add_performance(con: duckdb.DuckDBPyConnection, month: str, clients: int, outcomes: bool) -> None:
    metrics = {
        "roc_auc": 0.7744,
        "gini": 0.5488,
        "ks": 0.423,
        "average_precision": 0.548,
        "brier": 0.1387,
        "ece": 0.011,
    }
    samples = [("held_out", "held_out", 0.0)] if month == REALISED else []
    samples += [("realised", "live", 0.006)] if outcomes else []
    samples += [("estimated", "live", 0.002)]
    known = {"held_out": clients // 5, "realised": clients // 5, "estimated": None}
    rows = [
        (month, model, VERSION, sample, basis, metric, value - loss - 0.01 * n, clients, known[sample], None)
        for n, model in enumerate(MODELS)
        for sample, basis, loss in samples
        for metric, value in metrics.items()
    ]
    if rows:
        con.executemany("INSERT INTO performance VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def add_assessment(con: duckdb.DuckDBPyConnection, month: str) -> None:
    """What the stage `monitor` makes of the month as it is stored."""
    from models.stability import reference_bins
    from tasks.assess import assess, store
    from tasks.monitor import truths

    limits = con.sql("SELECT limit_bal FROM clients WHERE month = $m", params={"m": month}).pl()["limit_bal"]
    bins = {"limit_bal": reference_bins(limits, "amount")}
    key = Month.parse(month)
    store(con, key, assess(con, key, list(truths(con, key)), bins))


@pytest.fixture
def reassess(con: duckdb.DuckDBPyConnection) -> Callable[[str], None]:
    """Measures a month of `con` anew, after a test has changed it."""
    return partial(add_assessment, con)


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a filled warehouse; tests that change it copy it first."""
    path = tmp_path_factory.mktemp("warehouse") / "warehouse.duckdb"
    with duckdb.connect(str(path)) as con:
        fill_warehouse(con, 400)
    return path


@pytest.fixture
def con(stored: Path, tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a copy of the filled warehouse."""
    copy = tmp_path / "warehouse.duckdb"
    shutil.copyfile(stored, copy)
    with duckdb.connect(str(copy)) as connection:
        yield connection


@pytest.fixture
def add(con: duckdb.DuckDBPyConnection) -> Callable[..., None]:
    """Adds a month to `con`: `add(month, clients, seed=, outcomes=, models=True, shift=1.0)`."""
    return partial(add_month, con)


@pytest.fixture
def empty_con() -> Iterator[duckdb.DuckDBPyConnection]:
    """A warehouse without a row."""
    with duckdb.connect(":memory:") as connection:
        migrate(connection)
        yield connection


# --- Artifacts ------------------------------------------------------------------------------------

_CANDIDATES = {
    "none": {
        "brier": 0.13871,
        "ece": 0.0312,
        "mean_pd": 0.2391,
        "excess": 0.00122,
        "standard_error": 0.00041,
    },
    "platt": {
        "brier": 0.13762,
        "ece": 0.0151,
        "mean_pd": 0.2213,
        "excess": 0.00013,
        "standard_error": 0.00006,
    },
    "beta": {"brier": 0.13749, "ece": 0.0121, "mean_pd": 0.2212, "excess": 0.0, "standard_error": 0.0},
    "isotonic": {
        "brier": 0.13801,
        "ece": 0.0098,
        "mean_pd": 0.2214,
        "excess": 0.00052,
        "standard_error": 0.0002,
    },
}
CALIBRATION = {
    "chosen": "beta",
    "reason": "beta has the lowest Brier score, 0.13749; none is worse by 0.00122, more than one standard"
    " error (0.00041); platt is worse by 0.00013, more than one standard error (0.00006).",
    "rows": 4200,
    "defaulters": 929,
    "observed_rate": 929 / 4200,
    "folds": 5,
    "ece_floor": 0.0158,
    "candidates": _CANDIDATES,
}
CUT_OFF = {
    "cut_off": 0.18,
    "rule": "empirical",
    "cost": 0.4571,
    "cost_approving_all": 1.106,
    "cost_refusing_all": 0.7788,
    "refused": 1563,
    "rows": 4200,
    "defaulters": 929,
    "costs": {"missed_default": 5.0, "refused_good": 1.0},
}
_SETTINGS = {
    "memory": None,
    "steps": "list",
    "verbose": False,
    "prepare": "RankPreparation",
    "classify": "LogisticRegression",
    "prepare__code_columns": [68, 69, 70, 71, 72, 73, 74],
    "prepare__knots": 64,
    "classify__C": 0.01,
    "classify__l1_ratio": 0.0,
    "classify__max_iter": 1000,
    "classify__penalty": "deprecated",
    "classify__random_state": 42,
    "classify__solver": "lbfgs",
    "classify__tol": 0.0001,
}


_KINDS = {
    "logistic": "BaselinePipeline",
    "gradient_boosting": "BaselinePipeline",
    "vae_anomaly": "VAEAnomalyDetector",
    "vae_supervised": "VAEClassifier",
    "blend": "BlendClassifier",
}
_PARTS = {"blend": {name: name for name in ("vae_supervised", "gradient_boosting")}}


def _files_of(stem: str, kind: str) -> list[str]:
    return [f"{stem}.safetensors", f"{stem}.json"] if kind.startswith("VAE") else [f"{stem}.skops"]


def write_artifact(folder: Path, model: str, **changes: object) -> str:
    """What a card reads of an artifact; returns the manifest's SHA-256. `changes` go into the manifest."""
    from models.artifacts import COMMON_FILES, FORMAT
    from models.features import FeatureSet

    folder.mkdir(parents=True, exist_ok=True)
    texts = {"calibration.json": json.dumps(CALIBRATION), "cut_off.json": json.dumps(CUT_OFF)}
    for name, text in texts.items():
        (folder / name).write_text(text)
    parts = {stem: _KINDS[name] for stem, name in _PARTS.get(model, {"estimator": model}).items()}
    own = [name for stem, kind in parts.items() for name in _files_of(stem, kind)]
    sums = {name: hashlib.sha256(texts.get(name, "").encode()).hexdigest() for name in (*COMMON_FILES, *own)}
    manifest = {
        "format": FORMAT,
        "name": model,
        "estimator": _KINDS[model],
        "parts": parts,
        "features": list(FeatureSet().names),
        "seed": 42,
        "settings": dict.fromkeys(parts, _SETTINGS),
        "training": {
            "rows": 21000, "defaulters": 4646, "clients": 21000, "fit_rows": 12600, "calibration_rows": 4200,
            "held_out_rows": 4200, "held_out_defaulters": 929, "seed": 42, "attributes": "unprotected",
            "features": list(FeatureSet().names),
        },
        "facts": {"version": VERSION},
        "packages": {
            "python": "3.11.9", "numpy": "2.4.1", "polars": "2.1.0", "scikit-learn": "1.9.0",
            "imbalanced-learn": "0.14.0", "scipy": "1.17.0", "torch": "2.13.0", "skops": "0.14.0",
            "safetensors": "0.7.0",
        },
        "files": {name: {"sha256": total, "bytes": 1} for name, total in sorted(sums.items())},
    } | changes  # fmt: skip
    content = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(content)
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def root(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> Path:
    """A home with an artifact for every registered model of `con`."""
    home = tmp_path / "home"
    for (model,) in con.execute("SELECT model FROM models").fetchall():
        register(con, home, model)
    return home


def register(con: duckdb.DuckDBPyConnection, home: Path, model: str, **changes: object) -> None:
    """Writes the model's artifact anew and the sum of its manifest into the table."""
    total = write_artifact(home / "artifacts" / VERSION / model, model, **changes)
    con.execute("UPDATE models SET manifest_sha256 = ? WHERE model = ?", [total, model])


@pytest.fixture
def reregister(con: duckdb.DuckDBPyConnection, root: Path) -> Callable[..., None]:
    """Writes a model's artifact anew with changes in its manifest: `reregister(model, **changes)`."""
    return partial(register, con, root)


# --- The browser ----------------------------------------------------------------------------------


@dataclass
class Opened:
    """What a browser saw of one page."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    text: str = ""
    overflow: int = 0


def chromium_path() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for found in map(shutil.which, names) if found), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium without a network of its own.

    Module-scoped on purpose: Playwright keeps an event loop running while it lives, which other
    modules' tests must not meet. Absent Chromium skips, but fails where CI is "true".
    """
    executable = chromium_path()
    if executable is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium found (chromium, chromium-browser, google-chrome): CI must have one")
        pytest.skip("no Chromium found: install chromium to check the pages in a browser")
    from playwright.sync_api import sync_playwright

    flags = [
        "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update",
    ]  # fmt: skip
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=executable, args=flags)
        yield found
        found.close()


@pytest.fixture(scope="module")
def sheets(browser: Any) -> Callable[[Path], list[tuple[float, float]]]:
    """The sizes in points of the sheets that a page prints on: `sheets(path)`."""

    def printed(path: Path) -> list[tuple[float, float]]:
        page = browser.new_page()
        page.goto(path.as_uri(), wait_until="load")
        content = page.pdf(prefer_css_page_size=True, print_background=True)
        page.close()
        boxes = re.findall(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)\s*\]", content)
        return [(float(width), float(height)) for width, height in boxes]

    return printed


@pytest.fixture(scope="module")
def open_page(browser: Any) -> Callable[..., Opened]:
    """Opens a file in headless Chromium: `open_page(path, counts=, dark=, width=, click=, wait_for=)`."""

    def opened(
        path: Path,
        counts: tuple[str, ...] = (),
        dark: bool = False,
        width: int = 1280,
        click: str | None = None,
        wait_for: str | None = None,
    ) -> Opened:
        seen = Opened()
        page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        page.on("console", lambda m: seen.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: seen.errors.append(str(e)))
        page.on("request", lambda r: seen.requests.append(r.url))
        page.goto(path.as_uri(), wait_until="load")
        if click:
            page.locator(click).first.click()
        if wait_for:
            page.wait_for_selector(wait_for, timeout=30_000)
        seen.counts = {c: page.locator(c).count() for c in counts}
        seen.text = page.inner_text("body")
        seen.overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        page.close()
        return seen

    return opened
