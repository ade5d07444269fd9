"""The page of the month's scores: distribution, grades, concentration, expected loss, migration."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import polars as pl
from markupsafe import Markup

from creditflow.month import Month
from tasks.reports import charts
from tasks.reports.gather import PD_BINS, MonthFacts, PdBin, records, scored_before

# --- Facts ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Concentration:
    """Amounts in the currency of the file; `largest_share` is that of the largest hundredth of clients."""

    clients: int
    credit_limit: float
    exposure: float
    mean_pd: float
    exposure_weighted_pd: float | None
    lgd: float
    expected_loss: float
    grades: int
    hhi_clients: float
    hhi_exposure: float | None
    largest_share: float | None


@dataclass(frozen=True)
class Move:
    """Clients by grade then and now; no grade then: joiners, none now: leavers. Others have no exposure."""

    grade_before: str | None
    grade_now: str | None
    clients: int
    exposure: float | None


@dataclass(frozen=True)
class Migration:
    """The matrix of clients who are in both months, and who came and went.

    Args:
        before: the month that is compared with.
        grades: best first; `cells[i][j]` clients went from grades[i] to grades[j].
        up, down: clients who went to a better and to a worse grade.
    """

    before: str
    grades: tuple[str, ...]
    cells: tuple[tuple[int, ...], ...]
    joiners: dict[str, int]
    leavers: dict[str, int]
    joined_exposure: float
    left_exposure: float

    @property
    def stayed(self) -> int:
        return sum(map(sum, self.cells))

    @property
    def up(self) -> int:
        return sum(row[j] for i, row in enumerate(self.cells) for j in range(i))

    @property
    def down(self) -> int:
        return sum(row[j] for i, row in enumerate(self.cells) for j in range(i + 1, len(row)))


@dataclass(frozen=True)
class ScoreFacts:
    """`before` is the newest month before this one whose clients are scored, None where there is none."""

    before: str | None
    concentration: Concentration | None
    migration: Migration | None
    bins_before: list[PdBin]


def gather_scores(con: duckdb.DuckDBPyConnection, facts: MonthFacts, lgd: float) -> ScoreFacts:
    """What the page tells beside the month's own facts.

    Args:
        lgd: loss given default, a share of the exposure.
    """
    month = facts.month
    before = scored_before(con, month)
    if facts.champion is None:
        return ScoreFacts(before, None, None, [])
    concentration = records(con, "report_concentration", Concentration, month=month, lgd=lgd)
    moves = records(con, "report_migration", Move, month=month, before=before) if before else []
    return ScoreFacts(
        before,
        next(iter(concentration), None),
        migration(before, moves, [g.grade or "none" for g in facts.grades]) if before else None,
        records(con, "report_pd_histogram", PdBin, month=before, bins=PD_BINS) if before else [],
    )


def migration(before: str, moves: Sequence[Move], ordered: Sequence[str]) -> Migration | None:
    """The matrix of the moves; None where no client is in both months.

    Args:
        ordered: this month's grades, best first; grades that only the earlier month has follow by name.
    """
    counts = {(m.grade_before, m.grade_now): m.clients for m in moves}
    named = {g for pair in counts for g in pair if g is not None}
    grades = tuple(g for g in ordered if g in named) + tuple(sorted(named - set(ordered)))
    cells = tuple(tuple(counts.get((then, now), 0) for now in grades) for then in grades)
    if not any(map(any, cells)):
        return None
    joined, left = ([m for m in moves if getattr(m, side) is None] for side in ("grade_before", "grade_now"))
    return Migration(
        before,
        grades,
        cells,
        {m.grade_now or "none": m.clients for m in joined},
        {m.grade_before or "none": m.clients for m in left},
        sum(m.exposure or 0.0 for m in joined),
        sum(m.exposure or 0.0 for m in left),
    )


# --- Page -----------------------------------------------------------------------------------------


def scores_page(facts: MonthFacts, scores: ScoreFacts, drawn: Markup | None) -> str:
    """The page `scores.html`; `drawn` is the histogram."""
    from tasks.reports.pages import render

    return render(
        "scores.html.j2",
        sections={
            "distribution": "Distribution",
            "grades": "Grades",
            "concentration": "Concentration and expected loss",
            "migration": "Migration between grades",
        },
        facts=facts,
        scores=scores,
        histogram=drawn,
        no_migration=_no_migration(facts, scores),
        gap=scores.before is not None and Month.parse(scores.before).plus(1) != Month.parse(facts.month),
    )


def histogram(facts: MonthFacts, reference: pl.DataFrame | None, scores: ScoreFacts) -> Markup | None:
    """The month's PDs over the reference sample's and last month's.

    Args:
        reference: the champion's development sample; its `pd` is drawn behind the month's.
    """
    if not facts.pd_summary.clients:
        return None
    return charts.pd_histogram(
        _shares_of(facts.pd_bins),
        _reference_shares(reference),
        (scores.before, _shares_of(scores.bins_before)) if scores.before and scores.bins_before else None,
    )


def _shares_of(bins: Sequence[PdBin]) -> list[float]:
    counts = {b.bin: b.clients for b in bins}
    total = sum(counts.values())
    return [counts.get(b, 0) / total for b in range(PD_BINS)]


def _reference_shares(reference: pl.DataFrame | None) -> list[float] | None:
    if reference is None or reference.is_empty():
        return None
    bins = (reference["pd"] * PD_BINS).floor().clip(0, PD_BINS - 1).cast(pl.Int32)
    return [int((bins == b).sum()) / reference.height for b in range(PD_BINS)]


def _no_migration(facts: MonthFacts, scores: ScoreFacts) -> str:
    if facts.champion is None:
        return "No migration: awaiting a first model."
    if scores.before is None:
        return f"No migration: no month before {facts.month} is scored."
    return (
        f"No migration: no client of {facts.month} is in {scores.before}. Either the months hold different "
        "clients, or a client's ID does not stay the same from month to month."
    )
