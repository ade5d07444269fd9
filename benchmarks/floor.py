"""What a month costs before creditflow does anything of its own, as Markdown.

    python benchmarks/floor.py MONTH               a scored month of the home that CREDITFLOW_HOME names

The fixed part of a run, and the least that its libraries take for what they are there for, one after the
other with the machine to themselves: no check of a row, no figure and no page is among it. What is asked of a
run is to be read beside the sum.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import torch
from monthly_run import BARE, Measured, measured
from scoring import Products, bare, scorer_and_clients, seconds

from creditflow.month import Month
from flows.settings import load_settings
from sql.warehouse import open_warehouse, quoted
from tasks.home import Home

TRIES = 3
# Prefect, its server, what a month imports, and a flow of empty tasks, as many as a month has stages.
# `beside`: Evidently's process too, once it has its imports.
EMPTY = """
import os, sys
from pathlib import Path
from flows.quiet import prepare_environment

home = Path(os.environ["CREDITFLOW_HOME"])
prepare_environment(home)
import polars as pl
from flows.start import prefect_at_hand
from tasks.reports.beside import draw, opened
from tasks.reports.evidently_pages import Job, Whole

with opened():
    if "beside" in sys.argv:
        draw(Job("drift", Path("no.html"), "2026-01", pl.DataFrame(), None, Whole(0, 0)))()
    with prefect_at_hand(home):
        from prefect import flow, task

        @task
        def nothing(): ...

        @flow
        def month():
            for _ in range(9):
                nothing()

        month()
# Prefect would look for its server, which has ended, for a minute.
os._exit(0)
"""
TABLES = ("clients", "outcomes", "score_rows", "reasons")


def empty_flow(*arguments: str) -> list[Measured]:
    """A run without its work, a few times: wall seconds, and memory of its processes together.

    In the first one Prefect makes its database.
    """
    with tempfile.TemporaryDirectory(prefix="creditflow-floor-") as folder:
        command = [sys.executable, "-c", EMPTY, *arguments]
        return [measured(command, Path(folder)) for _ in range(TRIES)]


def bare_copy(file: Path) -> float:
    """Seconds in which polars reads the file and writes it as Parquet, in a process of its own."""
    taken = measured([sys.executable, "-c", BARE, str(file)], file.parent).seconds
    Path(f"{file}.parquet").unlink()
    return taken


def products(month: Month) -> float:
    """Seconds a client of the matrix products of all models, on all processors at once."""
    processors = os.sched_getaffinity(0)
    # Products are noted in the thread that asks for it.
    os.sched_setaffinity(0, {min(processors)})
    scorer, clients = scorer_and_clients(month)
    with torch.inference_mode(), Products() as noted:
        scorer(clients)
    os.sched_setaffinity(0, processors)
    multiply = bare(noted.shapes)
    at_once = min(seconds(lambda: _at_once(multiply, len(processors))) for _ in range(1 + TRIES))
    return at_once / (len(processors) * clients.height)


def _at_once(multiply: Callable[[], None], processors: int) -> None:
    def alone() -> None:
        torch.set_num_threads(1)
        with torch.inference_mode():
            multiply()

    with ThreadPoolExecutor(processors) as pool:
        for done in [pool.submit(alone) for _ in range(processors)]:
            done.result()


def stored(home: Home, month: Month, memory_limit: str) -> float:
    """Seconds in which DuckDB copies the month's rows of the large tables into a new database."""
    with (
        tempfile.TemporaryDirectory(prefix="creditflow-floor-", dir=home.root) as folder,
        duckdb.connect(str(Path(folder) / "new.duckdb"), config={"memory_limit": memory_limit}) as con,
    ):
        con.execute(f"ATTACH {quoted(str(home.warehouse))} AS old (READ_ONLY)")
        return sum(seconds(lambda table=table: _copy(con, table, month)) for table in TABLES)


def _copy(con: duckdb.DuckDBPyConnection, table: str, month: Month) -> None:
    con.execute(f"CREATE TABLE {table} AS FROM old.{table} WHERE month = '{month}'")


def section(month: Month) -> Iterator[str]:
    """The Markdown, line by line."""
    settings = load_settings()
    home = Home(settings.home)
    with open_warehouse(home.warehouse, read_only=True) as con:
        statement = "SELECT count(*) FROM clients WHERE month = $month"
        ((clients,),) = con.execute(statement, {"month": str(month)}).fetchall()
    parts = {
        "a flow of nine empty tasks: Prefect, its server, what a month imports": min(
            run.seconds for run in empty_flow()
        ),
        "a bare copy of the client file by polars": bare_copy(home.inbox / f"clients_{month}.csv"),
        "the matrix products of all models, on all processors": products(month) * clients,
        "the month's rows of four tables copied by DuckDB": stored(home, month, settings.memory_limit),
    }
    yield from ("| at least | s |", "| --- | ---: |")
    for what, taken in parts.items():
        yield f"| {what} | {taken:.1f} |"
    yield f"| in all | {sum(parts.values()):.1f} |"
    held = max(run.peak for run in empty_flow("beside")) * 2**20 / 1e9
    yield from (
        "",
        f"The processes of the empty flow, and Evidently's beside them, hold {held:.2f} GB together.",
    )


if __name__ == "__main__":
    print("\n".join(section(Month.parse(sys.argv[1]))))
