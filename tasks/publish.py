"""Publishes a run: the month's report pack, the overview, and the readers' database."""

from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from creditflow.month import Month
from sql import publish as database
from sql.warehouse import execute, open_warehouse, transaction
from tasks.derived import due_months, record_made
from tasks.develop import artifact_folder
from tasks.home import Home
from tasks.notify import write_files
from tasks.stage import Run, stage


@dataclass(frozen=True)
class Reported:
    """The pages that were built."""

    pages: tuple[Path, ...]


@stage("report")
def report(run: Run) -> Reported:
    """Builds the cards that changed, the run's pack, and that of every month with new scores or outcomes."""
    from tasks.reports.cards import build_cards

    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con:
        # Before the packs, which link the cards that are there.
        build_cards(con, run.home.reports, run.home.root)
        due = due_months(con, run.month, "report")
        # The run's own pack is built always: it tells of the run.
        months = sorted({*due, run.month})
        return Reported(tuple(_build_pack(con, run, month, due.get(month)) for month in months))


def _build_pack(con: duckdb.DuckDBPyConnection, run: Run, month: Month, made_from: str | None) -> Path:
    from tasks.reports.pack import build_month_pack

    page = build_month_pack(
        con,
        month,
        run.home.reports,
        reference=_reference(con, run, month),
        evidently=run.options.evidently,
        sample_rows=run.options.report_sample_rows,
        seed=run.options.seed,
    )
    if made_from is not None:
        with transaction(con):
            record_made(con, month, "report", made_from)
    return page


def _reference(con: duckdb.DuckDBPyConnection, run: Run, month: Month) -> pl.DataFrame | None:
    """The sample that the month's champion was developed on; None while there are no scores."""
    from models.artifacts import load

    champion = execute(con, "champion_of_scores", month=str(month))
    if not champion:
        return None
    model, version, manifest = champion[0]
    return load(artifact_folder(run, version, model), manifest).reference


def publish_database(home: Home, memory_limit: str | None) -> None:
    """Replaces the readers' database alone, for what was written down after the last run's publication.

    Nothing where none was published yet: its first run does that.
    """
    if home.published.is_file():
        with open_warehouse(home.warehouse, memory_limit=memory_limit) as con:
            database.publish(con, home.published)


@stage("publish")
def publish(run: Run) -> Reported:
    """Builds the overview, replaces the Parquet of new scores, the alerts' file and the readers' database."""
    from tasks.reports.pack import build_overview

    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con:
        overview = build_overview(con, run.home.reports)
        database.publish_scores(con, run.home.published.with_name("scores"))
        write_files(con, run.home)
        # Last: it says that the run is done, so that a kill before it leaves the run to be done again.
        database.publish(con, run.home.published)
    return Reported((overview,))
