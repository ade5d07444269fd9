"""Publishes a run: the month's report pack, the overview, and the readers' database."""

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import polars as pl

from creditflow.month import Month
from sql import publish as database
from sql.warehouse import execute, open_warehouse, transaction
from tasks.derived import due_months, record_made
from tasks.develop import artifact_folder
from tasks.home import Home
from tasks.notify import write_files
from tasks.options import Options
from tasks.stage import Run, stage, step

if TYPE_CHECKING:
    from tasks.reports.pack import Policy


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
        with step(run, "cards"):
            build_cards(con, run.home.reports, run.home.root)
        due = due_months(con, run.month, "report")
        # The run's own pack is built always: it tells of the run. First, for Evidently has most to do for it.
        months = sorted({*due, run.month}, reverse=True)
        return Reported(tuple(_timed_pack(con, run, month, due.get(month)) for month in months))


def _timed_pack(con: duckdb.DuckDBPyConnection, run: Run, month: Month, made_from: str | None) -> Path:
    with step(run, f"pages of {month}"):
        return _build_pack(con, run.home, run.options, month, made_from)


def rebuild_pack(
    home: Home, month: Month, options: Options, memory_limit: str | None, *, pdf: bool, browser: str | None
) -> Reported:
    """Builds a month's pack and the overview anew from what is stored; the caller holds the lock.

    Args:
        pdf: whether our pages are printed as well, into one PDF beside them.
        browser: the Chromium that prints; None: the first that is installed.

    Raises:
        UsageError: the warehouse knows nothing of the month, or there is no browser to print with.
        HomeUnusable: nothing was ever run in this home.
    """
    from tasks.reports.cards import build_cards
    from tasks.reports.pack import build_overview, print_pack
    from tasks.reports.pdf import find_browser

    # Before the work, which takes some seconds.
    executable = find_browser(browser) if pdf else None
    with open_warehouse(home.warehouse, memory_limit=memory_limit) as con:
        build_cards(con, home.reports, home.root)
        page = _build_pack(con, home, options, month, due_months(con, month, "report").get(month))
        overview = build_overview(con, home.reports)
    printed = (print_pack(page.parent, executable),) if executable else ()
    return Reported((page, overview, *printed))


def _build_pack(
    con: duckdb.DuckDBPyConnection, home: Home, options: Options, month: Month, made_from: str | None
) -> Path:
    from tasks.reports.pack import build_month_pack

    page = build_month_pack(
        con,
        month,
        home.reports,
        reference=_reference(con, home, month),
        evidently=options.evidently,
        sample_rows=options.report_sample_rows,
        seed=options.seed,
        policy=policy(options),
        root=home.root,
    )
    if made_from is not None:
        with transaction(con):
            record_made(con, month, "report", made_from)
    return page


def policy(options: Options) -> "Policy":
    """The part of the options that the pages reckon with."""
    from tasks.reports.pack import Policy

    return Policy(options.loss_given_default, options.cost_missed_default, options.cost_refused_good)


def _reference(con: duckdb.DuckDBPyConnection, home: Home, month: Month) -> pl.DataFrame | None:
    """The sample that the month's champion was developed on; None while there are no scores."""
    from models.artifacts import load_reference

    champion = execute(con, "champion_of_scores", month=str(month))
    if not champion:
        return None
    model, version, manifest = champion[0]
    return load_reference(artifact_folder(home, version, model), manifest)


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
        write_files(con, run.home)
        # While the database is copied: one waits for a processor, the other for the disk.
        with ThreadPoolExecutor(1, thread_name_prefix="parquet") as beside:
            scores = beside.submit(copy_context().run, _publish_scores, con.cursor(), run)
            # Put in place last: it says that the run is done; a kill before leaves it to be done again.
            with step(run, "database"):
                database.publish(con, run.home.published, first=scores.result)
    return Reported((overview,))


def _publish_scores(con: duckdb.DuckDBPyConnection, run: Run) -> None:
    with step(run, "scores as Parquet"):
        database.publish_scores(con, run.home.published.with_name("scores"))
