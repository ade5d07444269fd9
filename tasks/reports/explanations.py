"""The page of reasons: their mix by grade and its drift, clients in words, unusual columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb

from tasks.reports.gather import Explained, MonthFacts, ReasonCount, records


@dataclass(frozen=True)
class ReasonMix:
    """Reasons against grades; the last of a row is each grade's share of explained clients that name it."""

    grades: list[Explained]
    rows: list[tuple[str, str | None, int, list[float | None]]]


@dataclass(frozen=True)
class Shift:
    """A reason's share of the first reasons, last month and now; `contribution` is its part of the index."""

    code: str
    reason: str | None
    before: float
    now: float
    contribution: float


@dataclass(frozen=True)
class ReasonDrift:
    """How the mix of first reasons moved since `month`; `psi` is the sum of the contributions."""

    month: str
    psi: float
    shifts: list[Shift]


def gather_reason_drift(
    con: duckdb.DuckDBPyConnection, facts: MonthFacts, before: str | None
) -> ReasonDrift | None:
    """How the reasons moved since the month `before`; None where one of the months has no reasons."""
    if before is None:
        return None
    return reason_drift(
        before, records(con, "report_reason_mix", ReasonCount, month=before), facts.reason_mix
    )


def reason_drift(
    before: str, earlier: Sequence[ReasonCount], present: Sequence[ReasonCount]
) -> ReasonDrift | None:
    """PSI of the first reasons from one month to the next, as `models.stability` has it.

    Over clients who have a reason; None where a month has no such client.
    """
    from models.stability import contributions, share_floor

    texts = {c.code: c.reason for c in (*earlier, *present)}
    then, now = (_first_counts(counts, texts) for counts in (earlier, present))
    rows_then, rows_now = sum(then), sum(now)
    if not rows_then or not rows_now:
        return None
    shares = [count / rows_then for count in then], [count / rows_now for count in now]
    parts = contributions(*shares, floor=share_floor(rows_then, rows_now)).tolist()
    shifts = [Shift(*row) for row in zip(texts, texts.values(), *shares, parts, strict=True)]
    return ReasonDrift(before, sum(parts), sorted(shifts, key=lambda s: (-s.contribution, s.code)))


def _first_counts(counts: Sequence[ReasonCount], codes: Iterable[str]) -> list[int]:
    return [sum(c.first for c in counts if c.code == code) for code in codes]


# --- Page -----------------------------------------------------------------------------------------


def explanations_page(facts: MonthFacts, drift: ReasonDrift | None, reasons_list: str | None) -> str:
    """The page `explanations.html`.

    Args:
        reasons_list: link to the list of all reasons, if it is there.
    """
    from tasks.reports.pages import render

    return render(
        "explanations.html.j2",
        sections={
            "mix": "Reasons by grade",
            "drift": "Drift of the reasons",
            "clients": "Clients in words",
            "unusual": "Unusual columns",
        },
        facts=facts,
        mix=_reason_mix(facts),
        drift=drift,
        no_reasons=_no_reasons(facts),
        reasons_list=reasons_list,
    )


def _reason_mix(facts: MonthFacts) -> ReasonMix | None:
    """None where no explained client has a reason."""
    if not facts.reason_mix:
        return None
    grades = [g for g in facts.explained if g.with_reason]
    by_code: dict[str, list[ReasonCount]] = {}
    for found in facts.reason_mix:
        by_code.setdefault(found.code, []).append(found)
    rows = [
        (code, counts[0].reason, sum(c.clients for c in counts), _shares(counts, grades))
        for code, counts in by_code.items()
    ]
    return ReasonMix(grades, sorted(rows, key=lambda row: (-row[2], row[0])))


def _shares(counts: Sequence[ReasonCount], grades: Sequence[Explained]) -> list[float | None]:
    found = {c.grade: c.clients for c in counts}
    return [found.get(g.grade, 0) / g.explained if g.explained else None for g in grades]


def _no_reasons(facts: MonthFacts) -> str | None:
    """Why no client of the month is explained; None where some are."""
    if facts.champion is None:
        return "No reasons: " + (
            "awaiting a first model." if facts.current_files else "no client file was taken."
        )
    if not any(g.explained for g in facts.explained):
        return (
            "No client of this month is explained: the settings ask for none, an earlier release scored it, "
            f"or {facts.champion.model} has no contributions to explain."
        )
    return None
