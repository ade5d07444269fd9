"""Publishes a run: the month's report pack, the overview, and the readers' database."""

from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from creditflow.month import Month
from sql import publish as database
from sql.warehouse import execute, open_warehouse
from tasks.develop import artifact_folder
from tasks.monitor import Monitored
from tasks.stage import Run, stage


@dataclass(frozen=True)
class Reported:
    """The pages that were built."""

    pages: tuple[Path, ...]


@stage("report")
def report(run: Run, monitored: Monitored) -> Reported:
    """Builds the pack of every month whose figures changed."""
    from tasks.reports.pack import build_month_pack

    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con:
        pages = [
            build_month_pack(
                con,
                month,
                run.home.reports,
                reference=_reference(con, run, month),
                evidently=run.options.evidently,
                sample_rows=run.options.report_sample_rows,
                seed=run.options.seed,
            )
            for month in monitored.months
        ]
    return Reported(tuple(pages))


def _reference(con: duckdb.DuckDBPyConnection, run: Run, month: Month) -> pl.DataFrame | None:
    """The sample that the month's champion was developed on; None while there are no scores."""
    from models.artifacts import load

    champion = execute(con, "champion_of_scores", month=str(month))
    if not champion:
        return None
    model, version, manifest = champion[0]
    return load(artifact_folder(run, version, model), manifest).reference


@stage("publish")
def publish(run: Run) -> Reported:
    """Builds the overview and replaces the readers' database."""
    from tasks.reports.pack import build_overview

    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con:
        overview = build_overview(con, run.home.reports)
        database.publish(con, run.home.published)
    return Reported((overview,))
