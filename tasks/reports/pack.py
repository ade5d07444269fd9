"""Builds the report pack: a month's folder of pages and the overview above them.

A pack is built in a hidden sibling folder and put in place by rename, so a reader sees the earlier
pack or the new one, never half of one, and a failed build leaves the earlier pack as it was.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb
import polars as pl

from creditflow.errors import UsageError
from creditflow.month import Month
from tasks.alerts import read_alerts
from tasks.notify import write_month
from tasks.reports import pages
from tasks.reports.beside import Pending, draw
from tasks.reports.cards import INDEX, MODELS_FOLDER, card_path
from tasks.reports.evidently_pages import EvidentlyPage, Job, Kind, Whole
from tasks.reports.explanations import explanations_page, gather_reason_drift
from tasks.reports.gather import (
    MonthFacts,
    earlier_row,
    gather_alerts,
    gather_month,
    gather_overview,
    gather_psi_trend,
    sample,
)
from tasks.reports.metrics import as_json, metrics_of
from tasks.reports.pdf import pack_pdf
from tasks.reports.scores import gather_scores, histogram, scores_page
from tasks.reports.segments import gather_segments, segments_page
from tasks.reports.vae import gather_vae, vae_page
from tasks.reports.validation import gather_validation, validation_page

SAMPLE_ROWS = 50_000
STUDY_PAGE = "study.html"
# In the order in which they are read.
PRINTED = (
    "index.html",
    "data-quality.html",
    "stability.html",
    "scores.html",
    "validation.html",
    "segments.html",
    "explanations.html",
    "vae.html",
)
_BUILDING, _EARLIER = ".building", ".earlier"


@dataclass(frozen=True)
class Policy:
    """What the pages reckon with: loss given default, and the costs of the two errors of a cut-off."""

    lgd: float = 0.5
    missed_default: float = 5
    refused_good: float = 1


# --- The packs ------------------------------------------------------------------------------------


def build_month_pack(
    con: duckdb.DuckDBPyConnection,
    month: Month,
    reports_dir: Path,
    *,
    reference: pl.DataFrame | None,
    evidently: bool = True,
    sample_rows: int = SAMPLE_ROWS,
    seed: int = 42,
    policy: Policy | None = None,
    root: Path | None = None,
) -> Path:
    """Builds the month's pages from stored data and puts them in place.

    Args:
        con: the warehouse; only read.
        reports_dir: the pack lands in its folder YYYY-MM.
        reference: the champion's development sample: the attributes, `score`, `pd`, `defaulted`.
        evidently: whether Evidently's two pages are built; without it they say that they were left out.
        sample_rows: at most so many rows a side go to Evidently.
        seed: chooses them.
        policy: costs and loss given default; None: those of a new installation.
        root: the home whose artifacts tell of the VAE; None: the page says that there is none.

    Returns:
        The path of the month's index page.

    Raises:
        UsageError: the warehouse holds neither a file nor a run of the month.
    """
    facts = gather_month(con, month)
    if facts is None:
        raise _unknown(month)
    building = _fresh(reports_dir, str(month))
    try:
        if evidently:
            folders = building, reports_dir / str(month)
            drawn = _evidently_pages(con, facts, folders, reference, _Sampling(sample_rows, seed))
        else:
            drawn = _without_evidently("left out on request when this pack was built")
        sources = Sources(con, facts, reference, policy or Policy(), seed, root)
        reasons = pages.REASONS_LIST if (reports_dir / pages.REASONS_LIST).is_file() else None
        texts = page_texts(sources, drawn, _cards(facts, reports_dir), reasons)
        for name, text in texts.items():
            (building / name).write_text(text, "utf-8")
        write_month(building, read_alerts(con, "current_alerts", month=str(month)))
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return _put_in_place(building, reports_dir / str(month)) / "index.html"


def print_pack(folder: Path, browser: str) -> Path:
    """Prints our pages of a pack into one PDF beside them.

    Raises:
        PrintFailed: as `pdf.pack_pdf`.
    """
    return pack_pdf([folder / name for name in PRINTED], folder / f"creditflow-{folder.name}.pdf", browser)


def build_overview(con: duckdb.DuckDBPyConnection, reports_dir: Path) -> Path:
    """Builds the overview of all months, which links the packs that lie beside it, and returns its path."""
    months = gather_overview(con)
    published = frozenset(m.month for m in months if (reports_dir / m.month / "index.html").is_file())
    study = STUDY_PAGE if (reports_dir / STUDY_PAGE).is_file() else None
    reports_dir.mkdir(parents=True, exist_ok=True)
    page, building = reports_dir / "index.html", reports_dir / f"{_BUILDING}-index.html"
    models = f"{MODELS_FOLDER}/{INDEX}" if (reports_dir / MODELS_FOLDER / INDEX).is_file() else None
    building.write_text(pages.overview_page(months, published, study, models, gather_alerts(con)), "utf-8")
    os.replace(building, page)
    return page


# --- Steps ----------------------------------------------------------------------------------------


def _cards(facts: MonthFacts, reports_dir: Path) -> frozenset[str]:
    """The cards of the month's models that are there to be linked."""
    paths = (card_path(m.version, m.model) for m in facts.models)
    return frozenset(path for path in paths if (reports_dir / path).is_file())


@dataclass(frozen=True)
class Sources:
    """What the pages of one month are made from; `build_month_pack` says what the fields are."""

    con: duckdb.DuckDBPyConnection
    facts: MonthFacts
    reference: pl.DataFrame | None
    policy: Policy = Policy()
    seed: int = 42
    root: Path | None = None


def page_texts(
    sources: Sources,
    evidently: Sequence[Pending],
    cards: frozenset[str] = frozenset(),
    reasons: str | None = None,
) -> dict[str, str]:
    """File name to text of all that is ours in a month's pack.

    Args:
        evidently: gives what came of Evidently's pages; waited for when all else is made.
        cards: paths of the model cards that are there.
        reasons: path of the list of reasons, if it is there.
    """
    con, facts, policy = sources.con, sources.facts, sources.policy
    scores = gather_scores(con, facts, policy.lgd)
    found = gather_validation(con, facts.month, policy.missed_default, policy.refused_good)
    groups = gather_segments(con, facts.month)
    drift = gather_reason_drift(con, facts, scores.before)
    drawn = histogram(facts, sources.reference, scores)
    texts = {
        "data-quality.html": pages.data_quality_page(facts),
        "stability.html": pages.stability_page(facts, gather_psi_trend(con, facts.month)),
        "scores.html": scores_page(facts, scores, drawn),
        "validation.html": validation_page(facts, found),
        "segments.html": segments_page(facts, groups),
        "explanations.html": explanations_page(facts, drift, reasons),
        "vae.html": vae_page(facts, gather_vae(con, facts, sources.root, sources.seed)),
        "metrics.json": as_json(metrics_of(facts, scores, found, groups)),
    }
    shown = [page() for page in evidently]
    return {
        "index.html": pages.month_page(facts, earlier_row(con, facts.month), drawn, shown, cards),
        **texts,
        **{p.file_name: pages.unavailable_page(facts.month, p) for p in shown if p.reason},
    }


@dataclass(frozen=True)
class _Sampling:
    """Who goes to Evidently: at most `rows` a side, chosen by `seed`."""

    rows: int
    seed: int

    def of_month(self, con: duckdb.DuckDBPyConnection, month: Month, *, known_only: bool) -> pl.DataFrame:
        return sample(con, month, rows=self.rows, seed=self.seed, known_only=known_only)

    def of_reference(self, reference: pl.DataFrame | None) -> pl.DataFrame | None:
        if reference is None or reference.height <= self.rows:
            return reference
        return reference.sample(self.rows, seed=self.seed)


def _evidently_pages(
    con: duckdb.DuckDBPyConnection,
    facts: MonthFacts,
    folders: tuple[Path, Path],
    reference: pl.DataFrame | None,
    sampling: _Sampling,
) -> list[Pending]:
    """Evidently's pages, drawn into the first folder; the second is the one that the pack replaces."""
    if facts.champion is None:
        return _without_evidently("no client is scored: awaiting a first model")
    month, held = Month.parse(facts.month), sampling.of_reference(reference)
    everyone = sampling.of_month(con, month, known_only=False)
    # As a rule outcomes are known of all or of none.
    some = 0 < facts.outcomes.outcomes < facts.outcomes.scored
    known = sampling.of_month(con, month, known_only=True) if some else everyone.drop_nulls("defaulted")
    behind = 0 if reference is None else reference.height

    def drawn(kind: Kind, current: pl.DataFrame, clients: int) -> Pending:
        path, earlier = (folder / f"{kind}.html" for folder in folders)
        return draw(Job(kind, path, facts.month, current, held, Whole(clients, behind), earlier))

    return [
        drawn("drift", everyone, facts.outcomes.scored),
        drawn("performance", known, facts.outcomes.outcomes),
    ]


def _without_evidently(reason: str) -> list[Pending]:
    titles = {"drift": "Drift report by Evidently", "performance": "Classification report by Evidently"}
    return [partial(EvidentlyPage, name, title, reason, []) for name, title in titles.items()]


def _unknown(month: Month) -> UsageError:
    return UsageError(
        f"report pack of {month}",
        expected="a month with a file or a run in the warehouse",
        found="neither",
        remedy=f"Run the month first: creditflow run {month}.",
    )


# --- Replacing a folder ---------------------------------------------------------------------------


def _fresh(reports_dir: Path, name: str) -> Path:
    """An empty folder to build in; what a killed build left behind is put right first."""
    reports_dir.mkdir(parents=True, exist_ok=True)
    target, earlier, building = (reports_dir / n for n in (name, f"{_EARLIER}-{name}", f"{_BUILDING}-{name}"))
    if earlier.is_dir() and not target.exists():
        earlier.rename(target)
    for leftover in (earlier, building):
        shutil.rmtree(leftover, ignore_errors=True)
    building.mkdir()
    return building


def _put_in_place(building: Path, target: Path) -> Path:
    """Swaps the folders by two renames: Python has no call that replaces a filled folder in one."""
    earlier = target.with_name(f"{_EARLIER}-{target.name}")
    if target.exists():
        target.rename(earlier)
    try:
        building.rename(target)
    except OSError:
        if earlier.is_dir():
            earlier.rename(target)
        raise
    shutil.rmtree(earlier, ignore_errors=True)
    return target
