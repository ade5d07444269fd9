"""The peers of the monthly run, each as a script of its own process: what it imports, it pays for.

    python benchmarks/month_peer_scripts.py NAME FOLDER

`prepare` trains the peers and lays down what all of them read; nobody's time is taken for it. A script of
`MONTHS` takes a month's file to scores on disk. One of `SCORINGS` scores rows that lie in memory, and tells
its seconds alone. Each prints JSON.

FOLDER holds `home` (creditflow's, months 2026-01 to 2026-03) and `peers` (theirs).
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import polars as pl

MONTH, KNOWN = "2026-03", "2026-01"
ID, OUTCOME = "ID", "default payment next month"
CODES = ["SEX", "EDUCATION", "MARRIAGE", *(f"PAY_{n}" for n in (0, 2, 3, 4, 5, 6))]
TRAINING_ROWS = 50_000
# Rows of the comparison of scoring alone: a rate does not need more.
SCORED_ROWS = 1_000_000
ROUNDS = 3
PYOD_BLOCK = 4096
ONNX_BLOCK = 65_536
SEED = 42


def month_file(folder: Path, month: str = MONTH) -> Path:
    """The clients of a month as they arrive."""
    return folder / "home" / "inbox" / f"clients_{month}.csv"


def theirs(folder: Path, name: str) -> Path:
    """A file of the peers."""
    return folder / "peers" / name


# ── Preparation ─────────────────────────────────────────────────────────────────────────────────


def prepare(folder: Path) -> dict[str, Any]:
    """Trains every peer on the first month, and writes the matrices that scoring alone starts from."""
    import numpy as np
    import polars as pl

    (folder / "peers").mkdir(exist_ok=True)
    known = pl.read_csv(month_file(folder, KNOWN), n_rows=TRAINING_ROWS)
    outcomes = pl.read_csv(folder / "home" / "inbox" / f"outcomes_{KNOWN}.csv")
    labelled = known.join(outcomes, on=ID, maintain_order="left")
    y = labelled[OUTCOME].to_numpy()
    matrix = features(labelled)
    _train_frames(folder, labelled.to_pandas(), y)
    _train_matrices(folder, matrix, y)
    rows = features(pl.read_csv(month_file(folder), n_rows=SCORED_ROWS))
    np.save(theirs(folder, "matrix.npy"), rows)
    ours = models_of_set(folder)
    import joblib

    joblib.dump(ours, theirs(folder, "set.joblib"))
    np.save(theirs(folder, "inputs.npy"), encoded(ours["vae_supervised"].estimator, rows))
    _export(folder, ours["vae_supervised"].estimator)
    return {"rows": len(rows), "models": list(ours)}


def features(clients: "pl.DataFrame") -> "np.ndarray":
    """(n, p) creditflow's own feature matrix of a file's columns."""
    from creditflow.columns import ATTRIBUTE_NAMES
    from models.features import FeatureSet

    names = dict(zip(clients.columns[1:24], ATTRIBUTE_NAMES, strict=True))
    return FeatureSet().matrix(clients.rename(names))


def models_of_set(folder: Path, *names: str) -> dict[str, Any]:
    """Models of the set that scores the month, from creditflow's artifacts; without names all seven."""
    from models.artifacts import load

    (version,) = (folder / "home" / "artifacts").glob("2026-*")
    shared: dict[str, Any] = {}
    wanted = names or sorted(path.name for path in version.iterdir() if path.is_dir())
    return {name: load(version / name, shared=shared) for name in wanted}


def estimator_of(folder: Path, name: str) -> Any:
    """One fitted estimator of the set."""
    return models_of_set(folder, name)[name].estimator


def _train_frames(folder: Path, table: "pd.DataFrame", y: "np.ndarray") -> None:
    """The notebook's logistic regression, and the pipeline of trees."""
    import joblib
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    amounts = [name for name in table.columns[1:24] if name not in CODES]
    parts = [("amounts", StandardScaler(), amounts), ("codes", OneHotEncoder(handle_unknown="ignore"), CODES)]
    trees = HistGradientBoostingClassifier(random_state=SEED)
    pipeline = make_pipeline(ColumnTransformer(parts, sparse_threshold=0), trees).fit(table, y)
    joblib.dump(pipeline, theirs(folder, "pipeline.joblib"))
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    joblib.dump(logistic.fit(pandas_features(table), y), theirs(folder, "logistic.joblib"))


def _train_matrices(folder: Path, matrix: "np.ndarray", y: "np.ndarray") -> None:
    """LightGBM as the model comparison tuned it, and PyOD's VAE in the sizes of our anomaly detector."""
    import joblib
    from peers import PEERS, settings_of
    from pyod.models.vae import VAE

    lightgbm = PEERS["lightgbm"].build(settings_of(PEERS["lightgbm"], "features"), SEED, ())
    lightgbm.fit(matrix, y).booster_.save_model(theirs(folder, "lightgbm.txt"))
    shape = estimator_of(folder, "vae_anomaly")
    detector = VAE(
        encoder_neuron_list=[shape.hidden_units] * shape.hidden_layers,
        decoder_neuron_list=[shape.decoder_units],
        latent_dim=shape.latent_dim,
        epoch_num=5,
        batch_size=512,
        device="cpu",
        random_state=SEED,
        verbose=0,
    )
    detector.fit(matrix[y == 0])
    # Its own batches of 512 rows would hold it up: scoring takes no more memory for larger ones.
    detector.batch_size = PYOD_BLOCK
    joblib.dump(detector, theirs(folder, "pyod.joblib"))


def encoded(estimator: Any, matrix: "np.ndarray") -> "np.ndarray":
    """(n, width) float32 inputs of the classifier's network: scaled amounts and one-hot codes."""
    import numpy as np
    import torch

    network = estimator._folded_network("cpu").network
    with torch.inference_mode():
        blocks = [
            network.inputs(estimator._batch(matrix[start : start + ONNX_BLOCK], "cpu")).numpy()
            for start in range(0, len(matrix), ONNX_BLOCK)
        ]
    return np.concatenate(blocks)


def _export(folder: Path, estimator: Any) -> None:
    """The classifier's network from encoded inputs to PDs, every member of it, as ONNX."""
    import torch

    members = estimator._folded_network("cpu").members

    class Scoring(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList(map(_sequential, members))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(sum(part(inputs) for part in self.parts)).squeeze(1)

    rows = torch.zeros(2, members[0].layers[0][0].shape[1])
    torch.onnx.export(
        Scoring().eval(),
        (rows,),
        theirs(folder, "network.onnx"),
        input_names=["inputs"],
        output_names=["pd"],
        dynamic_shapes={"inputs": {0: torch.export.Dim("rows", min=1)}},
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _sequential(member: Any) -> Any:
    import torch

    layers: list[Any] = []
    for weight, bias in (*member.layers, member.head):
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight.data, linear.bias.data = weight.clone(), bias.clone()
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


# ── Notebooks ───────────────────────────────────────────────────────────────────────────────────


def pandas_features(table: "pd.DataFrame") -> "pd.DataFrame":
    """What a notebook computes: attributes, utilisation, payment ratios and delays."""
    attributes = table.iloc[:, 1:24]
    bills, payments = (table[[f"{name}{t}" for t in range(1, 7)]] for name in ("BILL_AMT", "PAY_AMT"))
    found = attributes.astype("float64")
    for t in range(1, 7):
        found[f"utilisation_{t}"] = bills[f"BILL_AMT{t}"] / table["LIMIT_BAL"]
    for t in range(1, 6):
        owed = bills[f"BILL_AMT{t + 1}"].clip(lower=1)
        found[f"payment_ratio_{t}"] = (payments[f"PAY_AMT{t}"] / owed).clip(upper=2)
    delays = table[CODES[3:]].clip(lower=0)
    found["delay_worst"], found["delay_mean"] = delays.max(axis=1), delays.mean(axis=1)
    return found


def _check(table: "pd.DataFrame") -> None:
    """A notebook's checks: stop where something is off."""
    problems = {
        "missing values": table.isna().to_numpy().any(),
        "repeated clients": table[ID].duplicated().any(),
        "a limit of nothing": (table["LIMIT_BAL"] <= 0).any(),
        "an odd age": (~table["AGE"].between(18, 120)).any(),
        "an odd status": (~table[CODES[3:]].isin(range(-2, 10))).to_numpy().any(),
    }
    if any(problems.values()):
        raise ValueError(f"the file has {[name for name, found in problems.items() if found]}")


def _to_duckdb(folder: Path, name: str, table: "pd.DataFrame", mode: str = "replace") -> None:
    import sqlalchemy

    engine = sqlalchemy.create_engine(f"duckdb:///{theirs(folder, name)}")
    table.to_sql("scores", engine, if_exists=mode, index=False)
    engine.dispose()


def _pages(folder: Path, scores: "pd.DataFrame") -> None:
    """A histogram and a table."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    axes = scores["pd"].plot.hist(bins=50)
    axes.figure.savefig(theirs(folder, "scores.png"))
    plt.close(axes.figure)
    deciles = scores.groupby(scores["pd"].rank(pct=True).mul(10).astype(int))["pd"].agg(["count", "mean"])
    theirs(folder, "scores.html").write_text(deciles.to_html(), "utf-8")


def notebook(folder: Path) -> dict[str, Any]:
    """pandas, one scikit-learn model from joblib, to_sql into DuckDB, a histogram and a table."""
    import joblib
    import pandas as pd

    table = pd.read_csv(month_file(folder))
    _check(table)
    model = joblib.load(theirs(folder, "logistic.joblib"))
    pds = model.predict_proba(pandas_features(table))[:, 1]
    scores = pd.DataFrame({"month": MONTH, "client_id": table[ID], "pd": pds})
    _to_duckdb(folder, "notebook.duckdb", scores)
    _pages(folder, scores)
    return {"scores": len(scores)}


def whole_month(folder: Path) -> dict[str, Any]:
    """The notebook that does what a month needs: every rule, all seven models, Evidently on a sample.

    Great Expectations looks at the whole pandas frame; the models are the very estimators of the set through
    scikit-learn's interface, each on the whole feature matrix.
    """
    import joblib
    import pandas as pd
    import polars as pl

    from models.registry import raw_score

    table = pd.read_csv(month_file(folder))
    _validate(table)
    matrix = features(pl.from_pandas(table))
    models = joblib.load(theirs(folder, "set.joblib"))
    mode, written = "replace", 0
    for name, model in models.items():
        score = raw_score(model.estimator, matrix)
        pds = model.calibration.calibrator.predict(score)
        scores = pd.DataFrame(
            {"month": MONTH, "client_id": table[ID], "model": name, "score": score, "pd": pds}
        )
        _to_duckdb(folder, "whole.duckdb", scores, mode)
        mode, written = "append", written + len(scores)
    _pages(folder, scores)
    _drift(folder, table, models["blend"].reference)
    return {"scores": written}


def _validate(table: "pd.DataFrame") -> None:
    """Every rule of creditflow's suite that looks at rows, by Great Expectations."""
    import os

    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.expectations.registry import get_expectation_impl

    from creditflow.columns import ATTRIBUTE_NAMES
    from expectations.suite import load_suite

    names = dict(zip(table.columns, ("client_id", *ATTRIBUTE_NAMES), strict=True))
    rules = [rule for rule in load_suite("clients") if rule.on == "rows" and rule.column in names.values()]
    expectations = [
        get_expectation_impl(rule.expectation)(column=rule.column, **rule.kwargs) for rule in rules
    ]
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("month")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch(
        {"dataframe": table.rename(columns=names)}
    )
    batch.validate(gx.ExpectationSuite("clients", expectations=expectations), result_format="COMPLETE")


def _drift(folder: Path, table: "pd.DataFrame", reference: "pl.DataFrame") -> None:
    """Evidently's drift report of a sample against the reference sample."""
    import os

    os.environ["DO_NOT_TRACK"] = "1"
    from evidently import Report
    from evidently.presets import DataDriftPreset

    from creditflow.columns import ATTRIBUTE_NAMES

    names = dict(zip(table.columns[1:24], ATTRIBUTE_NAMES, strict=True))
    current = table.rename(columns=names)[list(ATTRIBUTE_NAMES)].astype("float64")
    sample = current.sample(min(len(current), 50_000), random_state=SEED)
    before = reference.select(ATTRIBUTE_NAMES).to_pandas().astype("float64")
    report = Report([DataDriftPreset()]).run(sample, before)
    report.save_html(str(theirs(folder, "drift.html")))


# ── One library each, from file to scores ───────────────────────────────────────────────────────


def pipeline(folder: Path) -> dict[str, Any]:
    """pandas, a scikit-learn pipeline of encoders and trees, Parquet."""
    import joblib
    import pandas as pd

    table = pd.read_csv(month_file(folder))
    pds = joblib.load(theirs(folder, "pipeline.joblib")).predict_proba(table)[:, 1]
    scores = pd.DataFrame({"month": MONTH, "client_id": table[ID], "pd": pds})
    scores.to_parquet(theirs(folder, "pipeline.parquet"))
    return {"scores": len(scores)}


def _scored_by(folder: Path, name: str, score: Callable[["np.ndarray"], "np.ndarray"]) -> dict[str, Any]:
    """polars and creditflow's features, one model, Parquet."""
    import polars as pl

    clients = pl.read_csv(month_file(folder))
    found = clients.select(pl.lit(MONTH).alias("month"), ID, score=score(features(clients)))
    found.write_parquet(theirs(folder, f"{name}.parquet"))
    return {"scores": found.height}


def pyod(folder: Path) -> dict[str, Any]:
    """PyOD's VAE of the same features."""
    return _scored_by(folder, "pyod", _pyod(folder))


def lightgbm(folder: Path) -> dict[str, Any]:
    """LightGBM of the same features."""
    return _scored_by(folder, "lightgbm", _lightgbm(folder))


def onnx(folder: Path) -> dict[str, Any]:
    """ONNX Runtime of our VAE classifier's network; its inputs are encoded by our code."""
    return _scored_by(folder, "onnx", _onnx_from_matrix(folder))


# ── Scoring alone ───────────────────────────────────────────────────────────────────────────────


def _pyod(folder: Path) -> Callable[["np.ndarray"], "np.ndarray"]:
    import joblib

    return joblib.load(theirs(folder, "pyod.joblib")).decision_function


def _lightgbm(folder: Path) -> Callable[["np.ndarray"], "np.ndarray"]:
    import lightgbm

    return lightgbm.Booster(model_file=theirs(folder, "lightgbm.txt")).predict


def _onnx(folder: Path) -> Callable[["np.ndarray"], "np.ndarray"]:
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(theirs(folder, "network.onnx"), providers=["CPUExecutionProvider"])

    def scored(inputs: "np.ndarray") -> "np.ndarray":
        starts = range(0, len(inputs), ONNX_BLOCK)
        blocks = (inputs[start : start + ONNX_BLOCK] for start in starts)
        return np.concatenate([session.run(["pd"], {"inputs": block})[0] for block in blocks])

    return scored


def _onnx_from_matrix(folder: Path) -> Callable[["np.ndarray"], "np.ndarray"]:
    estimator, network = estimator_of(folder, "vae_supervised"), _onnx(folder)
    return lambda matrix: network(encoded(estimator, matrix))


def _ours(folder: Path, name: str) -> Callable[["np.ndarray"], "np.ndarray"]:
    from models.scoring import SetScorer

    scorer = SetScorer({name: estimator_of(folder, name)})
    return lambda matrix: scorer(matrix)[name]


def _our_network(folder: Path) -> Callable[["np.ndarray"], "np.ndarray"]:
    """The classifier's network alone, in the blocks and threads that scoring uses."""
    import torch
    from scipy.special import expit

    from models.vae import over_blocks

    net = estimator_of(folder, "vae_supervised")._folded_network("cpu")
    # A copy at torch's own alignment, as scoring makes one of every block.
    return lambda inputs: expit(over_blocks(inputs, lambda block: net.logit(torch.tensor(block)).numpy()))


# name: (what is scored, from the peers' folder; the scorer)
SCORINGS: dict[str, tuple[str, Callable[[Path], Callable[["np.ndarray"], "np.ndarray"]]]] = {
    "ours_vae_anomaly": ("matrix.npy", lambda folder: _ours(folder, "vae_anomaly")),
    "pyod_alone": ("matrix.npy", _pyod),
    "ours_gradient_boosting": ("matrix.npy", lambda folder: _ours(folder, "gradient_boosting")),
    "lightgbm_alone": ("matrix.npy", _lightgbm),
    "ours_vae_supervised": ("matrix.npy", lambda folder: _ours(folder, "vae_supervised")),
    "onnx_alone": ("matrix.npy", _onnx_from_matrix),
    "ours_network": ("inputs.npy", _our_network),
    "onnx_network": ("inputs.npy", _onnx),
}
MONTHS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "notebook": notebook,
    "whole_month": whole_month,
    "pipeline": pipeline,
    "pyod": pyod,
    "lightgbm": lightgbm,
    "onnx": onnx,
}


def scoring(name: str, folder: Path) -> dict[str, Any]:
    """Seconds of the best of three rounds; the scores are kept for comparison."""
    import numpy as np

    file, make = SCORINGS[name]
    rows, score, seconds = np.load(theirs(folder, file)), make(folder), []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        found = score(rows)
        seconds.append(time.perf_counter() - started)
    np.save(theirs(folder, f"{name}.scores.npy"), np.asarray(found, dtype=np.float64))
    return {"rows": len(found), "seconds": min(seconds)}


def main() -> None:
    """Runs the script that is named."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    others = {"prepare": prepare, **MONTHS}
    print(json.dumps(scoring(name, folder) if name in SCORINGS else others[name](folder)))


if __name__ == "__main__":
    main()
