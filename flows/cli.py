"""The command line. Heavy imports stay inside the commands: `--help` must not pay for torch.

Exit codes: 0 done, 1 refused input or failed gate, 2 usage, 3 a run finished with critical alerts.
"""

import atexit
import errno
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from creditflow import __version__
from creditflow.errors import CreditflowError, HomeLocked, HomeUnusable, UsageError
from creditflow.month import Month, month_range
from flows import models_cli

if TYPE_CHECKING:
    from flows.settings import Settings
    from tasks.ledger import AsOf

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Monthly credit-default scoring: load, validate, train or reuse, score, report.",
    epilog="Everything is kept under CREDITFLOW_HOME; .env.example lists all settings. "
    "Exit code 3: a run finished, and critical alerts are raised.",
)

app.add_typer(models_cli.app, name="models")

MonthArgument = Annotated[str, typer.Argument(metavar="MONTH", help="A month, as YYYY-MM.")]


class FileFormat(StrEnum):
    """Formats that `simulate` writes."""

    csv = "csv"
    csv_gz = "csv.gz"
    parquet = "parquet"
    xlsx = "xlsx"


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
    _end_with_alerts(settings, [Month.parse(month)])


@app.command()
def backfill(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="The first month, as YYYY-MM.")],
    last: Annotated[str, typer.Argument(metavar="LAST", help="The last month, as YYYY-MM.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the backfill. Not needed for --dry-run.")] = "",
    as_of_now: Annotated[
        bool, typer.Option("--as-of-now", help="Score by today's champion with all outcomes known today.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Also run months that are up to date.")] = False,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Go on after a month that fails; exit code 1 at the end.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and why; change nothing.")
    ] = False,
) -> None:
    """Run several months in order, each as its monthly run would have gone at that time."""
    from flows import show, workflows

    settings, months = _settings(), (Month.parse(first), Month.parse(last))
    as_of: AsOf = "now" if as_of_now else "then"
    if dry_run:
        workflows.plan_range(settings, *months, as_of=as_of, force=force)
        return
    if not reason.strip():
        raise UsageError("--reason", expected="a few words", found="none", remedy="Say why, for the record.")
    workflows.run_range(settings, *months, reason, as_of=as_of, force=force, keep_going=keep_going)
    show.print_where(settings)
    _end_with_alerts(settings, list(month_range(*months)))


@app.command()
def rebuild(
    reason: Annotated[str, typer.Option(help="Why; kept with the backfill.")] = "something was stale",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is stale, and why; change nothing.")
    ] = False,
) -> None:
    """Make good whatever is stale: late outcomes, revised files, changed settings or code."""
    from flows import workflows

    settings = _settings()
    if dry_run:
        workflows.plan_rebuild(settings)
        return
    _end_with_alerts(settings, workflows.rebuild(settings, reason))


@app.command()
def score(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="Folder or URL of Parquet partitions of clients.")
    ],
    target: Annotated[
        str, typer.Argument(metavar="OUTPUT", help="Folder or URL that receives a partition of scores each.")
    ],
    dask: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Dask scheduler whose workers do it; CREDITFLOW_DASK."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the scores of another run in OUTPUT.")
    ] = False,
) -> None:
    """Score Parquet partitions by the champion's models, here or on a cluster; docs/many-machines.md."""
    settings = _settings()
    from flows import partitions

    partitions.answer(settings, source, target, dask, overwrite)


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


@app.command()
def serve(
    cron: Annotated[
        str | None, typer.Option(metavar="CRON", help="When, instead of the day and hour of the settings.")
    ] = None,
) -> None:
    """Run the schedule until ended: every month by itself, with a Prefect server of its own."""
    settings = _settings()
    from flows import serve as service

    service.serve(settings, cron)


@app.command()
def deploy() -> None:
    """Register the deployments monthly, backfill and study with the Prefect server of PREFECT_API_URL."""
    settings = _settings()
    from flows import deploy as deployment
    from flows import show

    show.print_lines(deployment.deploy(settings))


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


# ── Commands that keep and bring back ───────────────────────────────────────────────────────────


@app.command()
def backup(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where backups are kept; created if need be.")
    ],
) -> None:
    """Keep the whole home in a new folder of DIR: database, artifacts, inbox and everything published."""
    from flows import show
    from tasks.backup import back_up, in_words
    from tasks.home import Home

    settings = _settings()
    with show.steps("backing up") as step:
        made = back_up(Home(settings.home), folder, settings.lock_wait_seconds, step)
    show.print_lines([f"{made.folder}: {in_words(made.manifest)} in {made.seconds:.1f} s"])


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(metavar="BACKUP", help="A folder that `backup` made.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Restore into a home in use; what it holds is kept aside.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Only hold every file against its sum.")] = False,
) -> None:
    """Put a backup in place of the home, after checking every file of it."""
    from flows import show
    from tasks import backup as task
    from tasks.home import Home

    if check and replace:
        raise UsageError(
            "creditflow restore", expected="--check or --replace", found="both", remedy="Choose one."
        )
    settings = _settings()
    if check:
        with show.steps("checking") as step:
            found = task.check(folder, step)
        show.print_lines(
            [f"{folder} is whole: {task.in_words(found.manifest)}; checked in {found.seconds:.1f} s"]
        )
        return
    with show.steps("restoring") as step:
        done = task.restore(
            Home(settings.home), folder, settings.lock_wait_seconds, replace=replace, progress=step
        )
    show.print_lines([f"{settings.home}: {task.in_words(done.manifest)} in {done.seconds:.1f} s"])
    if done.aside:
        show.print_lines([f"What was there lies in {done.aside}; delete it when it is not needed any more."])
    show.print_lines([f"Kept by creditflow {done.manifest.creditflow} on {done.manifest.made_at}."])


# ── Commands that ask ───────────────────────────────────────────────────────────────────────────


@app.command()
def sql(
    query: Annotated[str | None, typer.Argument(help="One SELECT; without, the tables.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="A file that holds the query.")] = None,
    example: Annotated[str | None, typer.Option("--example", help="Run a worked query by its name.")] = None,
    examples: Annotated[bool, typer.Option("--examples", help="List the worked queries.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the result as CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    parquet: Annotated[Path | None, typer.Option("--parquet", help="Write the result to this file.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the Parquet file.")] = False,
) -> None:
    """Query the published database with SQL."""
    from flows import sql_cli

    asked = sql_cli.Asked(query, file, example, examples)
    shown = sql_cli.Shown(as_csv, as_json, parquet, overwrite)
    sql_cli.answer(_settings(), asked, shown)


@app.command()
def status(
    months: Annotated[
        int | None, typer.Option("--months", min=1, metavar="N", help="Only the newest N months.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON; docs/status.md.")] = False,
    timings: Annotated[
        bool, typer.Option("--timings", help="Show what each month's newest run spent time and memory on.")
    ] = False,
    month: Annotated[
        str | None, typer.Option("--month", metavar="MONTH", help="With --timings: only this month.")
    ] = None,
) -> None:
    """Show where every month stands: file, model, scores, AUC, report, alerts, stale or not, overdue."""
    if month and not timings:
        raise UsageError("--month", expected="--timings with it", found="--month alone", remedy="Give both.")
    if timings:
        from flows import timings_cli

        timings_cli.answer(_settings(), Month.parse(month) if month else None, months, as_json)
        return
    from flows import status_cli

    status_cli.answer(_settings(), months, as_json)


@app.command()
def alerts(
    month: Annotated[
        str | None, typer.Argument(metavar="MONTH", help="Every rule of this month, as YYYY-MM.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as alerts.json has it.")] = False,
) -> None:
    """Show the alerts that are raised in any month, or every rule of one month."""
    from flows import show
    from tasks.alerts import current_alerts
    from tasks.home import Home
    from tasks.notify import summary

    chosen = Month.parse(month) if month else None
    home = Home(_settings().home)
    if as_json:
        typer.echo(json.dumps(summary(home, chosen), indent=2, ensure_ascii=False))
    else:
        show.print_current_alerts(current_alerts(home, chosen), chosen)


@app.command()
def report(
    month: MonthArgument,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Print the pages into one PDF too, by Chromium.")
    ] = False,
) -> None:
    """Build a month's pages anew from what is stored; nothing is scored or trained."""
    from flows import show
    from tasks.home import Home

    settings = _settings()
    with show.steps("building the pages"):
        from flows.report import rebuild

        made = rebuild(Home(settings.home), Month.parse(month), settings, pdf)
    show.print_lines([str(page) for page in made.pages])


@app.command()
def ui(
    months: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="FIRST LAST", help="Only make the snapshots of these months, as YYYY-MM."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to serve on; another one is open to its network.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to serve on.")] = 8000,
    build_only: Annotated[
        bool, typer.Option("--build-only", help="Bring the snapshots up to date and leave.")
    ] = False,
) -> None:
    """Browse the scored months in Evidently's own pages, until ended; docs/ui.md."""
    settings = _settings()
    from flows import ui as page

    page.ui(settings, months, host, port, build_only)


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


CRITICAL = 3


def _end_with_alerts(settings: "Settings", months: Sequence[Month]) -> None:
    """Shows what is raised in the months of a command; where some is critical, ends it with exit code 3."""
    from flows import show
    from flows.options import alerting
    from tasks.alerts import not_sent, raised_now
    from tasks.home import Home, locked
    from tasks.notify import notify

    home = Home(settings.home)
    raised = raised_now(home, months)
    # A run that was killed before it told of them is up to date and not run again. Where another run holds
    # the home, that one tells.
    if any(stored.told is None for stored in raised):
        with suppress(HomeLocked), locked(home, "the telling of alerts", settings.lock_wait_seconds):
            notify(home, alerting(settings))
        raised = raised_now(home, months)
    show.print_alerts(raised, not_sent(home, raised))
    if any(stored.alert.severity == "critical" for stored in raised):
        raise typer.Exit(CRITICAL)


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


_REFUSED_BY_THE_DISK = {
    errno.ENOSPC,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EDQUOT,
    errno.EIO,
    errno.EFBIG,
}


def _storage_error(error: OSError) -> CreditflowError | None:
    """A full, read-only or forbidden disk is an answer, not a crash; any other OSError is a bug."""
    if error.errno not in _REFUSED_BY_THE_DISK:
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
