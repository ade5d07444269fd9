"""How the command line shows things: progress, lines, tables."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from creditflow.month import Month

if TYPE_CHECKING:
    import polars as pl

    from flows.settings import Settings
    from sql.analyst import FirstRows
    from tasks.alerts import Stored
    from tasks.plan import Step as PlanStep

# What is a result goes to stdout, so that it can be piped; progress and hints go to stderr.
# A table that is piped is not cut to the width of a terminal that is not there.
_WIDE = None if sys.stdout.isatty() else 1000
out = Console(soft_wrap=True, highlight=False, width=_WIDE)
hints = Console(stderr=True, highlight=False)
STAGES = 9
# Rows of a table on a screen.
MOST_ROWS = 1000
Step = Callable[[str, int, int], None]
Say = Callable[[str], None]


# ── Progress ────────────────────────────────────────────────────────────────────────────────────


def _bar() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=hints,
        transient=True,
        disable=not hints.is_terminal,
    )


@contextmanager
def progress(months: Sequence[Month]) -> Iterator[Say]:
    """A bar over the stages of the months to run; call the result with a line to show above it."""
    from tasks import stage

    with _bar() as bar:
        row = bar.add_task("starting Prefect", total=len(months) * STAGES)

        def listen(name: str, month: Month, moment: Literal["start", "end"]) -> None:
            if moment == "start":
                bar.update(row, description=f"{month}  {name}")
            else:
                bar.advance(row)

        def say(line: str) -> None:
            # The bar is on stderr and the line on stdout, which may be a file: the bar makes way for it.
            bar.stop()
            print_lines([line])
            bar.start()

        stage.listeners.append(listen)
        try:
            yield say
        finally:
            stage.listeners.remove(listen)


@contextmanager
def steps(what: str) -> Iterator[Step]:
    """A bar for work that counts its own steps: call it with (description, done, total)."""
    with _bar() as bar:
        row = bar.add_task(what, total=None)

        def step(description: str, done: int, total: int) -> None:
            bar.update(row, description=f"{what}  {description}", completed=done, total=total)

        yield step


# ── Results ─────────────────────────────────────────────────────────────────────────────────────


def print_lines(lines: Sequence[str]) -> None:
    """Lines as they are; nothing in them is markup."""
    for line in lines:
        out.print(escape(line))


def print_paths(paths: Sequence[Path]) -> None:
    print_lines([str(path) for path in paths])


def print_plan(steps: "Sequence[PlanStep]") -> None:
    """What a range would do, month by month, and how long that takes where it is known."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, expand=False)
    for name in ("month", "action", "seconds", "why"):
        table.add_column(name, justify="right" if name == "seconds" else "left", overflow="fold")
    for step in steps:
        seconds = "–" if step.seconds is None else f"{step.seconds:,.0f}"
        table.add_row(str(step.month), step.action, seconds, escape(step.reason))
    if steps:
        out.print(table)
    hints.print(_plan_in_words(steps), soft_wrap=True)


def _plan_in_words(steps: "Sequence[PlanStep]") -> str:
    actions = ("run", "perhaps", "skip", "missing")
    run, perhaps, skip, missing = (sum(step.action == action for step in steps) for action in actions)
    counts = f"{run} to run, {perhaps} perhaps, {skip} unchanged, {missing} without a file"
    seconds = [step.seconds for step in steps if step.action in ("run", "perhaps") and step.seconds]
    time = f"; at most about {sum(seconds):,.0f} s" if seconds else ""
    return f"{counts}{time}. Nothing was changed."


def print_where(settings: "Settings") -> None:
    """Where to look next."""
    from tasks.home import Home

    home = Home(settings.home)
    hints.print(f"report    {escape(str(home.reports / 'index.html'))}", soft_wrap=True)
    hints.print(f"database  {escape(str(home.published))}   (creditflow sql 'SELECT …')", soft_wrap=True)


def print_alerts(alerts: "Sequence[Stored]", not_sent: Sequence[tuple[str, str]] = ()) -> None:
    """Raised alerts, one line each, and what to do, once a rule; who could not be told goes to stderr."""
    colours, advised = {"critical": "bold red", "warning": "yellow"}, set()
    for stored in alerts:
        alert = stored.alert
        mark = f"[{colours.get(alert.severity, 'default')}]{alert.severity}[/]"
        out.print(f"{stored.month}: {mark} {alert.rule.replace('_', ' ')}: {escape(alert.message)}")
        if alert.rule not in advised:
            out.print(f"         {escape(alert.remedy)}", style="dim")
        advised.add(alert.rule)
    for receiver, reason in not_sent:
        line = f"alerts could not be sent to {receiver}: {reason}; the next run tries again"
        hints.print(escape(line), soft_wrap=True)


def print_current_alerts(alerts: "Sequence[Stored]", month: Month | None) -> None:
    """Raised alerts of all months, or every rule of one."""
    if not alerts:
        hints.print(f"No alert rule was evaluated {f'for {month}' if month else 'yet'}.")
        return
    raised = [stored for stored in alerts if stored.alert.state == "raised"]
    print_alerts(raised)
    if month:
        others = [stored.alert for stored in alerts if stored.alert.state != "raised"]
        print_lines([f"{month}: {a.state} {a.rule.replace('_', ' ')}: {a.message}" for a in others])
    elif not raised:
        print_lines(["No alert is raised in any month."])


def print_frame(frame: "pl.DataFrame", form: Literal["table", "json"]) -> None:
    """A small frame as an aligned table with the number of its rows, or as JSON."""
    if form == "json":
        print_stream([frame], "json")
    else:
        print_table(frame)
        hints.print(_row_count(frame.height))


def print_first_rows(first: "FirstRows") -> None:
    """A table of the first rows of an answer, and how to have all where there are more."""
    out.print(_table(first.names, first.numeric, first.rows))
    if first.more:
        hints.print(f"the first {len(first.rows):,} rows; all of them with --csv, --json or --parquet FILE")
    else:
        hints.print(_row_count(len(first.rows)))


def print_stream(frames: "Iterable[pl.DataFrame]", form: Literal["csv", "json"]) -> None:
    """Frames of one schema as one CSV with a header, or as one JSON array; none is held when written."""
    try:
        for text in _csv(frames) if form == "csv" else _json(frames):
            sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough, as `head` has. Python would complain once more on leaving.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _csv(frames: "Iterable[pl.DataFrame]") -> Iterator[str]:
    for number, frame in enumerate(frames):
        yield frame.write_csv(include_header=number == 0)


def _json(frames: "Iterable[pl.DataFrame]") -> Iterator[str]:
    between = "["
    for frame in frames:
        if frame.height:
            yield between + frame.write_json()[1:-1]
            between = ","
    yield "[]\n" if between == "[" else "]\n"


def _row_count(rows: int) -> str:
    return f"{rows:,} row{'' if rows == 1 else 's'}"


def print_table(frame: "pl.DataFrame") -> None:
    """A frame as an aligned table."""
    numeric = [dtype.is_numeric() for dtype in frame.dtypes]
    out.print(_table(frame.columns, numeric, frame.iter_rows()))


def _table(names: Sequence[str], numeric: Sequence[bool], rows: Iterable[Sequence[object]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, expand=False)
    for name, is_number in zip(names, numeric, strict=True):
        table.add_column(escape(name), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".")
    return escape(str(value))
