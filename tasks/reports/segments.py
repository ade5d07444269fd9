"""The page of groups of clients: where the PD holds, and whether the cut-off treats them alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from tasks.reports.gather import MonthFacts, records


@dataclass(frozen=True)
class Segment:
    """A row of the table `segments`."""

    model: str
    version: str
    dimension: str
    kind: str
    position: int
    group_label: str
    clients: int
    known: int
    defaulters: int
    flagged: int | None
    mean_pd: float
    expected: float | None
    default_rate: float | None
    rate_low: float | None
    rate_high: float | None
    jeffreys_p: float | None
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    reason: str | None


@dataclass(frozen=True)
class Fairness:
    """A row of the table `fairness`."""

    model: str
    version: str
    attribute: str
    position: int
    group_label: str
    reference_group: str
    measure: str
    value: float | None
    low: float | None
    high: float | None
    clients: int
    reason: str | None


@dataclass(frozen=True)
class SegmentFacts:
    segments: list[Segment]
    fairness: list[Fairness]


@dataclass(frozen=True)
class FairnessTable:
    """One attribute: a row a group, with its measures by name."""

    title: str
    reference: str
    rows: list[tuple[str, dict[str, Fairness]]]


def gather_segments(con: duckdb.DuckDBPyConnection, month: str) -> SegmentFacts:
    """What the page tells."""
    return SegmentFacts(
        records(con, "report_segments", Segment, month=month),
        records(con, "report_fairness", Fairness, month=month),
    )


def segments_page(facts: MonthFacts, found: SegmentFacts) -> str:
    """The page `segments.html`."""
    from models.fairness import FOUR_FIFTHS, FOUR_FIFTHS_NOTE, MEASURES
    from models.segments import PROTECTED, SEGMENTS
    from tasks.reports.pages import render

    return render(
        "segments.html.j2",
        sections={"segments": "Segments", "fairness": "Fairness monitoring"},
        facts=facts,
        segments=[
            (d.title, [s for s in found.segments if s.dimension == d.name]) for d in (*SEGMENTS, *PROTECTED)
        ],
        fairness=fairness_tables(found.fairness, {d.name: d.title for d in PROTECTED}),
        measures=MEASURES,
        four_fifths=FOUR_FIFTHS,
        four_fifths_note=FOUR_FIFTHS_NOTE,
        why=_why_none(facts, found),
    )


def fairness_tables(found: Sequence[Fairness], titles: dict[str, str]) -> list[FairnessTable]:
    """One table an attribute, groups in order."""
    tables = []
    for attribute, title in titles.items():
        part = sorted((f for f in found if f.attribute == attribute), key=lambda f: f.position)
        groups = dict.fromkeys(f.group_label for f in part)
        rows = [(group, {f.measure: f for f in part if f.group_label == group}) for group in groups]
        if rows:
            tables.append(FairnessTable(title, part[0].reference_group, rows))
    return tables


def _why_none(facts: MonthFacts, found: SegmentFacts) -> str | None:
    """Why nothing is told of groups; None where something is."""
    if found.segments:
        return None
    if facts.champion is None:
        return "Not available: awaiting a first model."
    return "Not available: the month was measured by an earlier version; its next run measures it anew."
