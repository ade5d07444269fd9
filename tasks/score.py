"""Scores every accepted client of a month by champion and challengers, in a bounded stream.

A month that was loaded before there was any model is scored as soon as there is one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pyarrow.parquet as pq

from creditflow.month import Month
from sql.warehouse import execute, open_warehouse, transaction
from tasks.decide import Champion
from tasks.develop import Developed
from tasks.ledger import now
from tasks.options import Options
from tasks.stage import Run, stage

if TYPE_CHECKING:
    from models.develop import DevelopedModel

BATCH_ROWS = 100_000


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
        due = [m for m in _months(con, run.month) if not _is_scored(con, run, m, developed.champion)]
        if not due:
            return Scored((), 0)
        models = load_set(con, run, developed.champion.version)
        rows = sum(_score_month(con, run, month, developed.champion, models) for month in due)
    return Scored(tuple(due), rows)


# ── What is due ─────────────────────────────────────────────────────────────────────────────────


def _months(con: duckdb.DuckDBPyConnection, month: Month) -> list[Month]:
    return [Month.parse(text) for (text,) in execute(con, "months_to_score", month=str(month))]


def _is_scored(con: duckdb.DuckDBPyConnection, run: Run, month: Month, champion: Champion) -> bool:
    """Whether the month's scores are of this very version, file and code, and complete."""
    sha256, _, _, accepted = execute(con, "current_file", month=str(month), kind="clients")[0][:4]
    models = len(execute(con, "models_of_version", version=champion.version))
    wanted = (champion.version, sha256, run.code_version, champion.model, accepted * models)
    return execute(con, "score_state", month=str(month)) == [wanted]


def load_set(con: duckdb.DuckDBPyConnection, run: Run, version: str) -> dict[str, "DevelopedModel"]:
    """Every model of a set, by name, its artifact checked against the manifest's sum on record.

    Raises:
        ArtifactError: an artifact is missing, damaged or newer than this code.
    """
    from models.artifacts import load

    rows = execute(con, "models_of_version", version=version)
    return {name: load(run.home.root / folder, manifest) for name, folder, manifest, _ in rows}


# ── One month ───────────────────────────────────────────────────────────────────────────────────


def _score_month(
    con: duckdb.DuckDBPyConnection,
    run: Run,
    month: Month,
    champion: Champion,
    models: Mapping[str, "DevelopedModel"],
) -> int:
    target = run.home.work / f"scores_{month}.parquet"
    rows = _write_scores(con, run.options, month, champion.model, models, target)
    basis = _basis(con, run, month, champion)
    sha256 = execute(con, "current_file", month=str(month), kind="clients")[0][0]
    with transaction(con):
        execute(con, "archive_scores", month=str(month), run_id=run.run_id)
        execute(con, "delete_scores", month=str(month))
        execute(
            con,
            "insert_scores",
            month=str(month),
            version=champion.version,
            basis=basis,
            run_id=run.run_id,
            sha256=sha256,
            code_version=run.code_version,
            scored_at=now(),
            path=str(target),
        )
    target.unlink()
    return rows


def _basis(con: duckdb.DuckDBPyConnection, run: Run, month: Month, champion: Champion) -> str:
    """How to read the month's scores; see the table's comment."""
    training_months = execute(con, "models_of_version", version=champion.version)[0][3]
    if str(month) in training_months:
        return "in_sample"
    return "live" if month == run.month else "retrospective"


def _write_scores(
    con: duckdb.DuckDBPyConnection,
    options: Options,
    month: Month,
    champion: str,
    models: Mapping[str, "DevelopedModel"],
    target: Path,
) -> int:
    """Streams clients through the models into Parquet; returns rows written."""
    rows = 0
    writer: pq.ParquetWriter | None = None
    try:
        for batch in client_batches(con, month):
            table = pl.concat(
                [score_batch(batch, name, model, name == champion, options) for name, model in models.items()]
            ).to_arrow()
            writer = writer or pq.ParquetWriter(target, table.schema)
            writer.write_table(table)
            rows += table.num_rows
    finally:
        if writer is not None:
            writer.close()
    return rows


def client_batches(con: duckdb.DuckDBPyConnection, month: Month) -> Iterator[pl.DataFrame]:
    """The month's clients in bounded batches, in the order of the file."""
    # A cursor of its own: the stream stays open while other statements run.
    reader = (
        con.cursor()
        .sql(
            "SELECT * EXCLUDE (month, file_sha256) FROM clients WHERE month = $month",
            params={"month": str(month)},
        )
        .to_arrow_reader(BATCH_ROWS)
    )
    for batch in reader:
        yield pl.DataFrame(pl.from_arrow(batch))


def score_batch(
    batch: pl.DataFrame, name: str, model: "DevelopedModel", is_champion: bool, options: Options
) -> pl.DataFrame:
    """One model's rows of the table `scores` for a batch; points and grade are the champion's alone."""
    scored = model.score(batch)
    return pl.DataFrame(
        [
            batch["client_id"],
            pl.repeat(name, batch.height, eager=True).alias("model"),
            pl.repeat(is_champion, batch.height, eager=True).alias("is_champion"),
            scored["score"],
            scored["pd"],
            *_rating(scored["pd"], is_champion, options),
        ]
    )


def _rating(pd: pl.Series, is_champion: bool, options: Options) -> list[pl.Series]:
    from models.scorecard import Scale, grade, points

    if not is_champion:
        return [
            pl.repeat(None, pd.len(), dtype=pl.Int16, eager=True).alias("points"),
            pl.repeat(None, pd.len(), dtype=pl.String, eager=True).alias("grade"),
        ]
    scale = Scale(options.base_points, options.base_odds, options.points_to_double)
    return [points(pd, scale).alias("points"), grade(pd).cast(pl.String).alias("grade")]
