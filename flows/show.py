"""How the command line shows things: progress, lines, tables."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from creditflow.month import Month

if TYPE_CHECKING:
    import polars as pl

    from flows.settings import Settings

# What is a result goes to stdout, so that it can be piped; progress and hints go to stderr.
# A table that is piped is not cut to the width of a terminal that is not there.
_WIDE = None if sys.stdout.isatty() else 1000
out = Console(soft_wrap=True, highlight=False, width=_WIDE)
hints = Console(stderr=True, highlight=False)
STAGES = 9
Step = Callable[[str, int, int], None]
Say = Callable[[str], None]


# ── Progress ────────────────────────────────────────────────────────────────────────────────────


def _bar() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
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


def print_where(settings: "Settings") -> None:
    """Where to look next."""
    from tasks.home import Home

    home = Home(settings.home)
    hints.print(f"report    {escape(str(home.reports / 'index.html'))}", soft_wrap=True)
    hints.print(f"database  {escape(str(home.published))}   (creditflow sql 'SELECT …')", soft_wrap=True)


def print_frame(frame: "pl.DataFrame", form: str) -> None:
    """A query's result as an aligned table, CSV or JSON."""
    if form == "csv":
        sys.stdout.write(frame.write_csv())
    elif form == "json":
        sys.stdout.write(frame.write_json() + "\n")
    else:
        print_table(frame)
        hints.print(f"{frame.height:,} row{'' if frame.height == 1 else 's'}")


def print_table(frame: "pl.DataFrame") -> None:
    """A frame as an aligned table."""
    out.print(_table(frame))


def print_status(months: "pl.DataFrame", waiting: Sequence[str], home: Path) -> None:
    """The months, what waits in the inbox, or a hint when there is nothing."""
    if months.is_empty():
        hints.print(f"No month yet in {escape(str(home))}. Begin with: creditflow demo")
    else:
        # The message of a refused run is a sentence: it goes below the table.
        out.print(_table(months.drop("message")))
        print_lines(
            [f"{month}: {text}" for month, text in months.select("month", "message").drop_nulls().rows()]
        )
    print_lines(waiting)


def _table(frame: "pl.DataFrame") -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, expand=False)
    for name, dtype in frame.schema.items():
        table.add_column(escape(name), justify="right" if dtype.is_numeric() else "left", overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".")
    return escape(str(value))
