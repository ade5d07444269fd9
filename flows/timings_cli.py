"""`creditflow status --timings`: what each month's newest run spent its time and memory on."""

import json

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from creditflow.month import Month
from flows import show
from flows.settings import Settings
from tasks.home import Home
from tasks.timings import PART, RunTimings, StageTiming, timings

_NONE = "–"


def answer(settings: Settings, month: Month | None, newest: int | None, as_json: bool) -> None:
    """Prints the stages of the newest run of each month, or of one month."""
    found = timings(Home(settings.home), month)[:newest]
    if as_json:
        typer.echo(json.dumps({"timings": [run.as_dict() for run in found]}, indent=2, ensure_ascii=False))
        return
    for run in found:
        show.print_lines([f"{run.month}  {run.command}  {run.status}  {run.run_id}"])
        show.out.print(table_of(run))
    if not found:
        show.hints.print("No run yet" + (f" of {month}" if month else ""))


def table_of(run: RunTimings) -> Table:
    """One run: a line a stage, the parts of a stage indented below it, and what lies between the stages."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, show_edge=False)
    for title in ("stage", "s", "rows", "rows/s", "peak memory, MiB"):
        table.add_column(title, justify="left" if title == "stage" else "right")
    for stage in run.stages:
        table.add_row(*_cells(stage), style="dim" if stage.part else "")
    if run.other_seconds is not None:
        table.add_row("between stages: Prefect, ledger", f"{run.other_seconds:.2f}", "", "", "")
        table.add_row("in all", f"{run.stages_seconds + run.other_seconds:.2f}", "", "", "", style="bold")
    return table


def _cells(stage: StageTiming) -> list[str]:
    name = f"  {stage.stage.split(PART, 1)[1]}" if stage.part else stage.stage
    rate = stage.rows_per_second
    return [
        escape(name),
        f"{stage.seconds:.2f}",
        _NONE if stage.rows is None else f"{stage.rows:,}",
        _NONE if rate is None else f"{rate:,.0f}",
        f"{stage.peak_rss_bytes / 2**20:,.0f}",
    ]
