"""Scores every accepted client of a month by champion and challengers, and explains the champion's scores.

Both are bounded streams. A month that was loaded before there was any model is scored as soon as there is
one.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from creditflow.month import Month
from sql.warehouse import execute, open_warehouse, transaction
from tasks.decide import Champion
from tasks.derived import record_made
from tasks.develop import Developed, insert_frame
from tasks.ledger import now
from tasks.options import Options
from tasks.stage import Run, stage, step

if TYPE_CHECKING:
    import numpy as np

    from models.develop import DevelopedModel

# Rows in memory at a time, by as many threads as there are processors.
BATCH_ROWS = 65_536
# Looking for repeated values in the others would cost more than the rest of the writing.
REPEATED = ["model", "is_champion", "points", "grade", "flagged"]
# The one-class VAE: it says what is unusual about a client, whichever model is champion.
DETECTOR = "vae_anomaly"


@dataclass(frozen=True)
class Scored:
    """The months scored by this run; `rows` counts clients times models."""

    months: tuple[Month, ...]
    rows: int


@stage("score")
def score(run: Run, developed: Developed) -> Scored:
    """Scores the run's month and earlier months that still wait for scores."""
    if developed.champion is None:
        return Scored((), 0)
    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con:
        months = _months(con, run.month) if run.as_of == "then" else [run.month]
        due = [m for m in months if not _is_scored(con, run, m, developed.champion)]
        if not due:
            return Scored((), 0)
        models = load_set(con, run, developed.champion.version)
        rows = sum(_score_month(con, run, month, developed.champion, models) for month in due)
    return Scored(tuple(due), rows)


# ── What is due ─────────────────────────────────────────────────────────────────────────────────


def _months(con: duckdb.DuckDBPyConnection, month: Month) -> list[Month]:
    return [Month.parse(text) for (text,) in execute(con, "months_to_score", month=str(month))]


def _is_scored(con: duckdb.DuckDBPyConnection, run: Run, month: Month, champion: Champion) -> bool:
    """Whether the month's scores are of this very version, file, code and settings, and complete.

    A run as of then makes its month's scores live again where one as of now had them first.
    """
    sha256, _, _, accepted = execute(con, "current_file", month=str(month), kind="clients")[0][:4]
    models = len(execute(con, "models_of_version", version=champion.version))
    wanted = (champion.version, sha256, run.code_version, champion.model, accepted * models)
    state = execute(con, "score_state", month=str(month))
    if [row[:-1] for row in state] != [wanted]:
        return False
    if run.as_of == "then" and month == run.month and state[0][-1] == "retrospective":
        return False
    return execute(con, "scored_with", month=str(month)) == [(_settings(run.options),)]


def _settings(options: Options) -> str:
    """The settings that show in a month's scores and reasons."""
    names = ("base_points", "base_odds", "points_to_double", "explain_up_to", "explain_share")
    return json.dumps({name: getattr(options, name) for name in names})


def load_set(con: duckdb.DuckDBPyConnection, run: Run, version: str) -> dict[str, "DevelopedModel"]:
    """Every model of a set, by name, its artifact checked against the manifest's sum on record.

    Raises:
        ArtifactError: an artifact is missing, damaged, or not of this version of the code.
    """
    from models.artifacts import load

    shared: dict[str, Any] = {}
    rows = execute(con, "models_of_version", version=version)
    return {name: load(run.home.root / folder, manifest, shared) for name, folder, manifest, _ in rows}


# ── One month ───────────────────────────────────────────────────────────────────────────────────


def _score_month(
    con: duckdb.DuckDBPyConnection,
    run: Run,
    month: Month,
    champion: Champion,
    models: Mapping[str, "DevelopedModel"],
) -> int:
    from models.reasons import reason_texts

    # A file a model, the champion's first: who reads one model's scores later skips the blocks of the others.
    order = sorted(models, key=lambda name: name != champion.model)
    scores = {name: run.home.work / f"scores_{month}_{name}.parquet" for name in order}
    reasons = {"reasons": run.home.work / f"reasons_{month}.parquet"}
    with step(run, "models") as scoring:
        rows = _write(scores, _scores(client_batches(con, month), run.options, champion.model, models))
        scoring.rows = rows
    with step(run, "reasons") as explaining:
        riskiest = _reasons(con, run.options, month, champion.model, models, scores[champion.model])
        explained = _write(reasons, ({"reasons": table} for table in riskiest))
        explaining.rows = explained
    with step(run, "store"), transaction(con):
        execute(con, "archive_scores", month=str(month), run_id=run.run_id)
        for what in ("scores", "scoring", "reasons"):
            execute(con, f"delete_{what}", month=str(month))
        _insert_scores(con, run, month, champion, [scores[name] for name in order])
        if explained:
            told = str(reasons["reasons"])
            execute(con, "insert_reasons", month=str(month), version=champion.version, path=told)
        insert_frame(con, "replace_reason_texts", pl.DataFrame(reason_texts()))
        record_made(con, month, "scores", _settings(run.options))
    for path in (*scores.values(), *reasons.values()):
        path.unlink(missing_ok=True)
    return rows


def _insert_scores(
    con: duckdb.DuckDBPyConnection, run: Run, month: Month, champion: Champion, paths: Sequence[Path]
) -> None:
    execute(con, "insert_scores", month=str(month), paths=list(map(str, paths)))
    execute(
        con,
        "insert_scoring",
        month=str(month),
        champion=champion.model,
        version=champion.version,
        basis=_basis(con, run, month, champion),
        run_id=run.run_id,
        sha256=execute(con, "current_file", month=str(month), kind="clients")[0][0],
        code_version=run.code_version,
        scored_at=now(),
    )


def _basis(con: duckdb.DuckDBPyConnection, run: Run, month: Month, champion: Champion) -> str:
    """How to read the month's scores; see the table's comment."""
    training_months = execute(con, "models_of_version", version=champion.version)[0][3]
    if str(month) in training_months:
        return "in_sample"
    return "live" if month == run.month and run.as_of == "then" else "retrospective"


def _write(targets: Mapping[str, Path], tables: Iterator[Mapping[str, pl.DataFrame]]) -> int:
    """Streams tables by name, those of a name into a Parquet file of theirs; returns rows written in all."""
    rows = 0
    with ExitStack() as stack:
        writers: dict[str, pq.ParquetWriter] = {}
        for name, table in ((name, t.to_arrow()) for found in tables for name, t in found.items()):
            if name not in writers:
                writers[name] = stack.enter_context(_writer(targets[name], table.schema))
            writers[name].write_table(table)
            rows += table.num_rows
    return rows


def _writer(target: Path, schema: pa.Schema) -> pq.ParquetWriter:
    repeated = [name for name in REPEATED if name in schema.names]
    return pq.ParquetWriter(target, schema, use_dictionary=repeated or False, compression="lz4")


def client_batches(con: duckdb.DuckDBPyConnection, month: Month) -> Iterator[pl.DataFrame]:
    """The month's clients in bounded batches, in the order of the file."""
    statement = "SELECT * EXCLUDE (month, file_sha256) FROM clients WHERE month = $month"
    return _batches(con, statement, month=str(month))


def _batches(con: duckdb.DuckDBPyConnection, statement: str, **params: Any) -> Iterator[pl.DataFrame]:
    # A cursor of its own: the stream stays open while other statements run.
    for batch in con.cursor().sql(statement, params=params).to_arrow_reader(BATCH_ROWS):
        yield pl.DataFrame(pl.from_arrow(batch))


# ── Scores ──────────────────────────────────────────────────────────────────────────────────────


def _scores(
    batches: Iterator[pl.DataFrame], options: Options, champion: str, models: Mapping[str, "DevelopedModel"]
) -> Iterator[dict[str, pl.DataFrame]]:
    from models.develop import ClientScorer
    from models.threads import in_threads

    scorer = ClientScorer(models)

    def score_batch(batch: pl.DataFrame) -> dict[str, pl.DataFrame]:
        clients, cut_offs = (
            batch["client_id"],
            {name: model.cut_off.cut_off for name, model in models.items()},
        )
        return {
            name: score_rows(clients, name, scored, cut_offs[name], name == champion, options)
            for name, scored in scorer(batch).items()
        }

    yield from in_threads(score_batch, batches)


def score_rows(
    clients: pl.Series, name: str, scored: pl.DataFrame, cut_off: float, is_champion: bool, options: Options
) -> pl.DataFrame:
    """One model's rows of the table `score_rows`; points, grade and flag are the champion's alone."""
    rows = clients.len()
    return pl.DataFrame(
        [
            clients.alias("client_id"),
            pl.repeat(name, rows, eager=True).alias("model"),
            pl.repeat(is_champion, rows, eager=True).alias("is_champion"),
            scored["score"],
            scored["pd"],
            *_rating(scored["pd"], cut_off, is_champion, options),
        ]
    )


def _rating(pd: pl.Series, cut_off: float, is_champion: bool, options: Options) -> list[pl.Series]:
    from models.scorecard import Scale, grade, points

    if not is_champion:
        types = {"points": pl.Int16, "grade": pl.String, "flagged": pl.Boolean}
        return [pl.repeat(None, pd.len(), dtype=t, eager=True).alias(name) for name, t in types.items()]
    scale = Scale(options.base_points, options.base_odds, options.points_to_double)
    return [
        points(pd, scale).alias("points"),
        grade(pd).cast(pl.String).alias("grade"),
        (pd >= cut_off).alias("flagged"),
    ]


# ── Reasons ─────────────────────────────────────────────────────────────────────────────────────


def _reasons(
    con: duckdb.DuckDBPyConnection,
    options: Options,
    month: Month,
    champion: str,
    models: Mapping[str, "DevelopedModel"],
    scores: Path,
) -> Iterator[pl.DataFrame]:
    """Reasons for the clients that the settings ask for, from scores just written."""
    from models.threads import in_threads
    from sql.library import query

    limits = {"up_to": options.explain_up_to, "share": options.explain_share}
    ((least_pd,),) = execute(con, "least_pd_to_explain", path=str(scores), **limits)
    features = models[champion].features
    explain = _explanation(champion, models)
    params = {"month": str(month), "path": str(scores), "least_pd": least_pd}

    def explain_batch(batch: pl.DataFrame) -> pl.DataFrame:
        model = pl.repeat(champion, batch.height, eager=True).alias("model")
        return pl.DataFrame([batch["client_id"], model, *explain(features.matrix(batch))])

    yield from in_threads(explain_batch, _batches(con, query("clients_to_explain"), **params))


def _explanation(
    champion: str, models: Mapping[str, "DevelopedModel"]
) -> Callable[["np.ndarray"], list[pl.Series]]:
    """What tells of a feature matrix why the champion scored its rows so, and what is unusual in them."""
    from models.attribution import unexplained
    from models.reasons import ClientExplainer, unusual_columns

    names = models[champion].features.names
    estimator, detector = models[champion].estimator, models[DETECTOR].estimator
    explainer = None if unexplained(estimator) else ClientExplainer(estimator, names)
    modelled = [names[position] for position in detector.deformation_columns_]

    def explain(X: "np.ndarray") -> list[pl.Series]:
        reasons = explainer.explain(X).get_columns() if explainer else []
        return [*reasons, *unusual_columns(detector.deformation(X), modelled).get_columns()]

    return explain
