"""The command `status`: where every month stands, as a table that suits the terminal's width, or as JSON."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from typing import Literal, NamedTuple

import typer
from rich import box
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from flows import show
from flows.options import run_options
from flows.settings import Settings
from tasks.home import Home
from tasks.schedule import Overdue
from tasks.status import MonthStatus, Status, Waiting, look

# Files of a kind, and stale months of one reason, that are named one by one.
FEW = 3
# Overdue months beyond which a home is taken for one of past months, which nobody feeds.
LONG_SILENCE = 12
ENDED_BADLY = ("refused", "failed", "killed")
_NONE = "–"


def answer(settings: Settings, newest: int | None, as_json: bool) -> None:
    """Prints where the months stand, the newest first; only so many of them where `newest` is given."""
    found = look(Home(settings.home), run_options(settings), settings, datetime.now(UTC))
    shown = replace(found, months=found.months[:newest])
    if as_json:
        typer.echo(json.dumps(shown.as_dict(), indent=2, ensure_ascii=False))
        return
    _print_months(shown.months)
    show.print_lines(_below(shown, len(found.months) - len(shown.months)))
    if not found.months and not found.problem:
        show.hints.print(f"No month yet in {escape(str(found.home))}. Begin with: creditflow demo")


# ── Below the table ─────────────────────────────────────────────────────────────────────────────


def _below(status: Status, left_out: int) -> list[str]:
    """What cannot be said in a cell."""
    stale = _stale([m for m in status.months if m.stale])
    return [
        *([f"and {left_out} earlier month{'' if left_out == 1 else 's'}"] if left_out else []),
        *_source(status),
        *(f"{m.month} {m.run_status}: {m.run_message}" for m in status.months if m.run_status in ENDED_BADLY),
        *stale,
        *(["Bring them up to date: creditflow rebuild"] if stale else []),
        *_waiting(status.waiting),
        *_overdue(status.overdue or ()),
    ]


def _stale(months: Sequence[MonthStatus]) -> list[str]:
    """One line a month; many neighbours with one reason, as after an upgrade, share one."""
    lines = []
    for reason, group in groupby(months, attrgetter("stale_reason")):
        names = [month.month for month in group]
        if len(names) > FEW:
            lines.append(f"{len(names)} months from {names[-1]} to {names[0]} are stale: {reason}")
        else:
            lines += [f"{name} is stale: {reason}" for name in names]
    return lines


def _source(status: Status) -> list[str]:
    """Where the months come from if not from the warehouse, and why nobody looked whether they are stale."""
    lines = []
    if status.problem:
        seen = "This is the published copy" if status.source == "published" else "No month can be shown"
        lines.append(f"{seen}: {status.problem}")
    if status.not_looked_at and status.months:
        why = "for that reason" if status.not_looked_at == status.problem else f"({status.not_looked_at})"
        lines.append(f"Stale or not: not looked at {why}")
    return lines


def _waiting(waiting: Sequence[Waiting]) -> list[str]:
    """One line a file; many files of one kind share one."""
    lines = []
    for kind, group in groupby(waiting, attrgetter("kind")):
        files = list(group)
        if kind == "misnamed" or len(files) <= FEW:
            lines += [file.text for file in files]
            continue
        first, last = files[0].month, files[-1].month
        span = f"{kind} of {len(files)} months from {first} to {last} are in the inbox"
        backfill = f"creditflow backfill {first} {last} --reason …"
        rebuild = "creditflow rebuild reads them, or the run of the month after"
        lines.append(f"{span}: {backfill if kind == 'clients' else rebuild}")
    return lines


def _overdue(overdue: Sequence[Overdue]) -> list[str]:
    if not overdue:
        return []
    first, last = overdue[0], overdue[-1]
    by = f"expected by {first.expected_by:%Y-%m-%d %H:%M} UTC"
    if first == last:
        return [f"overdue: clients of {first.month}, {by}"]
    if len(overdue) > LONG_SILENCE:
        return [f"no clients after {first.month.plus(-1)}: by the schedule {len(overdue)} months are overdue"]
    return [f"overdue: clients of {first.month} to {last.month}, {len(overdue)} months, the first {by}"]


# ── The table ───────────────────────────────────────────────────────────────────────────────────

Cell = Callable[[MonthStatus], str]


class Column(NamedTuple):
    """Lines of a heading, and of what stands below it."""

    titles: tuple[str, ...]
    cells: tuple[Cell, ...]
    side: Literal["left", "right"] = "left"


def _count(value: int | None) -> str:
    return _NONE if value is None else f"{value:,}"


def _figure(value: float | None) -> str:
    return _NONE if value is None else f"{value:.4f}"


def _state(m: MonthStatus) -> str:
    return "?" if m.stale is None else "stale" if m.stale else "current"


def _alerts(m: MonthStatus) -> str:
    """Raised alerts by severity; a dash where none were evaluated."""
    counts = {"crit": m.alerts_critical, "warn": m.alerts_warning, "info": m.alerts_info}
    if m.alerts_critical is None:
        return _NONE
    return " ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"


def _last_run(form: str) -> Cell:
    def cell(m: MonthStatus) -> str:
        return f"{m.run_status} {m.run_started_at:{form}}" if m.run_started_at else _NONE

    return cell


def _text(name: str) -> Cell:
    return lambda m: escape(getattr(m, name) or _NONE)


def _number(name: str) -> Cell:
    return lambda m: _count(getattr(m, name))


def _revision(m: MonthStatus) -> str:
    return f"revision {m.revision}" if m.revision else _NONE


WIDE = (
    Column(("month",), (_text("month"),)),
    Column(("file",), (_text("file"),)),
    Column(("rev",), (_number("revision"),), "right"),
    Column(("rows",), (_number("received"),), "right"),
    Column(("quar.",), (_number("quarantined"),), "right"),
    Column(("champion",), (lambda m: escape(f"{m.model} {m.version}") if m.model else _NONE,)),
    Column(("scored",), (_number("scored"),), "right"),
    Column(("outcomes",), (_number("outcomes"),), "right"),
    Column(("AUC est.",), (lambda m: _figure(m.auc_estimated),), "right"),
    Column(("real.",), (lambda m: _figure(m.auc_realised),), "right"),
    Column(("PSI",), (lambda m: _figure(m.psi),), "right"),
    Column(("report",), (_text("report"),)),
    Column(("last run, UTC",), (_last_run("%Y-%m-%d"),)),
    Column(("state",), (_state,)),
    Column(("alerts",), (_alerts,)),
)
_ROWS = Column(
    ("rows", "quar.", "revision"),
    (_number("received"), _number("quarantined"), _number("revision")),
    "right",
)
_AUC = Column(
    ("AUC est.", "realised"),
    (lambda m: _figure(m.auc_estimated), lambda m: _figure(m.auc_realised)),
    "right",
)
_CHAMPION = Column(("champion", "version"), (_text("model"), _text("version")))
_SCORED = Column(("scored", "outcomes"), (_number("scored"), _number("outcomes")), "right")
_DRIFT = Column(("PSI", "report"), (lambda m: _figure(m.psi), _text("report")), "right")
TWO_LINES = (
    Column(("month", "state"), (_text("month"), _state)),
    Column(("file", "revision"), (_text("file"), _revision)),
    Column(("rows", "quarantined"), (_number("received"), _number("quarantined")), "right"),
    _CHAMPION,
    _SCORED,
    _AUC,
    _DRIFT,
    Column(("last run, UTC", "alerts"), (_last_run("%Y-%m-%d %H:%M"), _alerts)),
)
# Without the file's name, which the month gives away.
NARROW = (
    Column(("month", "state"), (_text("month"), _state)),
    _ROWS,
    _CHAMPION,
    _SCORED,
    _AUC,
    _DRIFT,
    Column(("last run", "alerts"), (_last_run("%Y-%m-%d"), _alerts)),
)
_LAYOUTS = ((WIDE, 1), (WIDE, 0), (TWO_LINES, 1), (NARROW, 1), (NARROW, 0))


def _print_months(months: Sequence[MonthStatus]) -> None:
    """The first layout that fits the terminal; the narrowest folds its cells where none does."""
    if not months:
        return
    tables = [table_of(months, columns, gap) for columns, gap in _LAYOUTS]
    show.out.print(next((t for t in tables if _width(t) <= show.out.width), tables[-1]))


def _width(table: Table) -> int:
    """How wide a table is that folds nothing; measured as if the terminal had no end."""
    return Measurement.get(show.out, show.out.options.update(max_width=10_000), table).maximum


def table_of(months: Sequence[MonthStatus], columns: Sequence[Column], gap: int) -> Table:
    """Months as a table in one of the layouts, `gap` characters wider than need be between two columns."""
    table = Table(
        box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False, padding=(0, gap, 0, 0)
    )
    for column in columns:
        table.add_column("\n".join(column.titles), justify=column.side, overflow="fold")
    for month in months:
        cells = ["\n".join(cell(month) for cell in column.cells) for column in columns]
        table.add_row(*cells, style=_style(month))
    return table


def _style(month: MonthStatus) -> str:
    if month.alerts_critical or month.run_status in ENDED_BADLY:
        return "red"
    return "yellow" if month.stale else ""
