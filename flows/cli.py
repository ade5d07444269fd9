"""The command line. Heavy imports stay inside the commands: `--help` must not pay for torch.

Exit codes: 0 done, 1 refused input or failed gate, 2 usage.
"""

import atexit
import errno
import json
import os
import sys
import tempfile
import traceback
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from creditflow import __version__
from creditflow.errors import CreditflowError, HomeUnusable, UsageError
from creditflow.month import Month
from flows import models_cli

if TYPE_CHECKING:
    import polars as pl

    from flows.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Monthly credit-default scoring: load, validate, train or reuse, score, report.",
    epilog="Everything is kept under CREDITFLOW_HOME; .env.example lists all settings.",
)

app.add_typer(models_cli.app, name="models")

MonthArgument = Annotated[str, typer.Argument(metavar="MONTH", help="A month, as YYYY-MM.")]


class FileFormat(StrEnum):
    """Formats that `simulate` writes."""

    csv = "csv"
    csv_gz = "csv.gz"
    parquet = "parquet"
    xlsx = "xlsx"


class OutputFormat(StrEnum):
    """How `sql` prints a result."""

    table = "table"
    csv = "csv"
    json = "json"


# ── Commands that run months ────────────────────────────────────────────────────────────────────


@app.command()
def demo(
    months: Annotated[int, typer.Option(min=2, max=120, help="Months to simulate.")] = 8,
    clients: Annotated[int, typer.Option(min=200, help="Clients in the first month.")] = 5000,
) -> None:
    """Simulate a portfolio and run every month of it."""
    from flows import show, workflows

    settings = _settings()
    first, last = workflows.DEMO_FIRST, workflows.DEMO_FIRST.plus(months - 1)
    workflows.simulate_demo(settings, first, months, clients)
    workflows.run_range(settings, first, last, "demonstration on simulated data")
    show.print_where(settings)


@app.command()
def run(
    month: MonthArgument,
    retrain: Annotated[bool, typer.Option("--retrain", help="Develop the models anew.")] = False,
) -> None:
    """Run one month: load, validate, train or reuse, score, report, publish."""
    from flows import show, workflows

    settings = _settings()
    workflows.run_one(settings, Month.parse(month), retrain)
    show.print_where(settings)


@app.command()
def backfill(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="The first month, as YYYY-MM.")],
    last: Annotated[str, typer.Argument(metavar="LAST", help="The last month, as YYYY-MM.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the backfill.")],
) -> None:
    """Run several months in order, each as its monthly run would have gone at that time."""
    from flows import show, workflows

    if not reason.strip():
        raise UsageError("--reason", expected="a few words", found="none", remedy="Say why, for the record.")
    settings = _settings()
    workflows.run_range(settings, Month.parse(first), Month.parse(last), reason)
    show.print_where(settings)


@app.command()
def study(
    file: Annotated[Path, typer.Argument(help="The UCI data set, in any of its spellings.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for study.html and study.json; by default that of the reports."),
    ] = None,
) -> None:
    """Reproduce the study that creditflow grew out of, beside the published figures."""
    from flows import show, workflows

    show.print_paths(workflows.run_study(_settings(), file, out))


# ── Commands that bring data in ─────────────────────────────────────────────────────────────────


@app.command()
def simulate(
    first: Annotated[str, typer.Option(help="The first month, as YYYY-MM.")] = "2026-01",
    months: Annotated[int, typer.Option(min=1, max=1200, help="How many months.")] = 12,
    clients: Annotated[int, typer.Option(min=1, help="Clients in the first month.")] = 5000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the portfolio.")] = 42,
    shock: Annotated[str | None, typer.Option(help="A month with a shock, as YYYY-MM.")] = None,
    file_format: Annotated[
        FileFormat, typer.Option("--format", help="Format of the files.")
    ] = FileFormat.csv,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that differ.")] = False,
) -> None:
    """Write a simulated panel of clients and outcomes into the inbox."""
    from flows import show, workflows

    shocked = Month.parse(shock) if shock else None
    written = workflows.simulate_inbox(
        _settings(), Month.parse(first), months, clients, seed, shocked, file_format.value, overwrite
    )
    show.print_paths(written)


@app.command("import-uci")
def import_uci(
    file: Annotated[Path | None, typer.Argument(help="The data set; downloaded when left out.")] = None,
    first: Annotated[str, typer.Option(help="The first month, as YYYY-MM.")] = "2005-04",
    months: Annotated[int, typer.Option(min=1, max=1200, help="How many months to split it into.")] = 6,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that differ.")] = False,
) -> None:
    """Split the UCI data set by ID order into monthly client and outcome files in the inbox."""
    from flows import show, workflows

    show.print_lines(workflows.import_uci(_settings(), file, Month.parse(first), months, overwrite))


# ── Commands that ask ───────────────────────────────────────────────────────────────────────────


@app.command()
def sql(
    query: Annotated[str | None, typer.Argument(help="One SELECT on the published database.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="A file that holds the query.")] = None,
    output: Annotated[OutputFormat, typer.Option("--format", help="How to print it.")] = OutputFormat.table,
) -> None:
    """Query the published database with SQL."""
    from flows import show

    show.print_frame(_answer(query, file), output.value)


@app.command()
def status() -> None:
    """Show every month: files, rows, model, scores, outcomes, report, last run."""
    from flows import show
    from tasks.home import Home
    from tasks.status import month_table, waiting_files

    home = Home(_settings().home)
    months = month_table(home)
    show.print_status(months, waiting_files(home, months), home.root)


@app.command()
def explain(
    month: MonthArgument,
    client: Annotated[str, typer.Argument(metavar="CLIENT_ID", help="The client, as written in the file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say why a client has its score: PD, reasons, unusual columns."""
    from flows import show
    from tasks.explain import explain as explanation
    from tasks.explain import in_words
    from tasks.home import Home

    found = explanation(Home(_settings().home).published, Month.parse(month), client)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), ensure_ascii=False, indent=2))
    else:
        show.print_lines(in_words(found))


def _answer(query: str | None, file: Path | None) -> "pl.DataFrame":
    from sql.warehouse import ask, open_published
    from tasks.home import Home

    text = _query_text(query, file)
    with open_published(Home(_settings().home).published) as con:
        return ask(con, text)


def _query_text(query: str | None, file: Path | None) -> str:
    if (query is None) == (file is None):
        raise UsageError(
            "creditflow sql",
            expected="either a query or --file",
            found="both" if query else "neither",
            remedy="For example: creditflow sql 'SELECT * FROM portfolio_by_month'.",
        )
    return query if file is None else _read(file)  # type: ignore[return-value]


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            str(file), expected="a readable UTF-8 text file", found=str(error), remedy="Check the path."
        ) from error


# ── Frame ───────────────────────────────────────────────────────────────────────────────────────


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"creditflow {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None: ...


def _settings() -> "Settings":
    from flows.quiet import quiet_settings

    return quiet_settings()


def main() -> NoReturn:
    """Entry point: turns creditflow's errors into one line and an exit code."""
    try:
        app()
    except SystemExit as ended:
        _leave(ended.code if isinstance(ended.code, int) else 1)
    except CreditflowError as error:
        _fail(error)
    except OSError as error:
        _fail(_storage_error(error) or _unexpected(error))
    except Exception as error:
        _fail(_unexpected(error))
    _leave(0)


def _fail(error: CreditflowError) -> NoReturn:
    typer.echo(f"creditflow: {error}", err=True)
    _leave(error.exit_code)


def _leave(code: int) -> NoReturn:
    """Ends the process after its exit functions, but without taking the interpreter apart.

    Taking apart torch, Prefect and DuckDB costs a second, and DuckDB's bindings then print pages of
    objects that a thread of Prefect's still held.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _storage_error(error: OSError) -> CreditflowError | None:
    """A full, read-only or forbidden disk is an answer, not a crash; any other OSError is a bug."""
    if error.errno not in {errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT, errno.EIO}:
        return None
    return HomeUnusable(
        str(error.filename or "the disk of CREDITFLOW_HOME"),
        expected="a writable disk with space left",
        found=error.strerror or str(error),
        remedy="Free space or correct the permissions, then run again.",
    )


def _unexpected(error: Exception) -> CreditflowError:
    """A bug: one line for the reader, the traceback in a file for whoever mends it."""
    text = "".join(traceback.format_exception(error))
    # The system's temporary folder, since the home itself may be what failed.
    with tempfile.NamedTemporaryFile("w", prefix="creditflow-", suffix=".txt", delete=False) as file:
        file.write(text)
    return CreditflowError(
        "creditflow",
        expected="no error of this kind",
        found=f"{type(error).__name__}: {error}",
        remedy=f"This is a bug; what was stored is intact. Please report it with {file.name}.",
    )


if __name__ == "__main__":
    main()
