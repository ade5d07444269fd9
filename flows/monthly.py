"""The monthly flow: from the files in the inbox to scores, reports and the readers' database.

Runs on schedule, or by hand: `creditflow run 2005-09`. The same files, model and code change nothing.
The flow `outcomes` takes in outcomes that have come before the next month's clients.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import duckdb
from prefect import flow

from creditflow.errors import CreditflowError
from creditflow.month import Month
from creditflow.version import code_version
from flows.artifacts import record_artifacts
from flows.options import alerting, run_options, run_patience
from flows.settings import Settings, load_settings
from tasks import ledger
from tasks.alerts import Alert, Alerted, alert
from tasks.decide import decide
from tasks.develop import Developed, champion_of_today, develop
from tasks.home import Home, locked
from tasks.ledger import AsOf
from tasks.load import Loaded, LoadedOutcomes, load_clients, load_outcomes
from tasks.monitor import monitor
from tasks.notify import Told, notify, notify_failed
from tasks.publish import publish, report
from tasks.reports.beside import opened, warm_up
from tasks.score import Scored, score
from tasks.stage import Command, Run, record_start_up, take_timings


@dataclass(frozen=True)
class MonthResult:
    """What a run did, in the words that the command line prints."""

    month: str
    run_id: str
    summary: str
    alerts: tuple[Alert, ...] = ()  # those that were raised
    told: Told = field(default_factory=Told)


@flow(name="monthly", flow_run_name="monthly-{month}")
def monthly(
    month: str,
    retrain: bool = False,
    backfill_id: str | None = None,
    command: Command = "run",
    as_of: AsOf = "then",
) -> MonthResult:
    """Runs one month under the home's lock.

    Args:
        month: `YYYY-MM`.
        retrain: develop the models anew even where the rule says reuse.
        backfill_id: the backfill that this run belongs to.
        command: who asked for it, a person, the clock or a backfill.
        as_of: `now` scores the month by today's champion, with all outcomes known today, and decides nothing.
    """
    settings = load_settings()
    home = Home(settings.home)
    with locked(home, f"the run of {month}", settings.lock_wait_seconds):
        result = run_month(new_run(home, Month.parse(month), settings, command, as_of), retrain, backfill_id)
        record_artifacts(home, Month.parse(month), result.summary, settings.report_url)
        return result


@flow(name="outcomes", flow_run_name="outcomes-{month}")
def outcomes(month: str, backfill_id: str | None = None) -> MonthResult:
    """Takes in all outcomes that have come; `month` is the newest that is loaded."""
    settings = load_settings()
    home = Home(settings.home)
    with locked(home, "the outcomes", settings.lock_wait_seconds):
        return run_month(new_run(home, Month.parse(month), settings, "outcomes", "now"), False, backfill_id)


def new_run(
    home: Home, month: Month, settings: Settings, command: Command = "run", as_of: AsOf = "then"
) -> Run:
    """The identity of a run that begins now."""
    return Run(
        ledger.new_run_id(),
        month,
        home,
        code_version(),
        run_options(settings),
        settings.memory_limit,
        command,
        as_of,
        patience=run_patience(settings),
        alerting=alerting(settings),
    )


def run_month(run: Run, retrain: bool, backfill_id: str | None) -> MonthResult:
    """The stages of one month, written down in the ledger; the caller holds the lock."""
    run.home.clear_work()
    try:
        with (
            opened(),
            ledger.recorded(run.home, run.run_id, run.month, run.command, backfill_id),
            _timings_kept(run),
        ):
            # Before anything is read: what changes while the run goes on is for the next one.
            found = ledger.facts_now(run.home, run.month, run.options, run.as_of)
            summary, alerted = _stages(run, retrain)
            ledger.record_timings(run.home, take_timings(run.run_id))
            ledger.close(run.home, run.run_id, "done", message=summary, found=_went_by(run, found))
            publish(run)
    except Exception as error:
        notify_failed(run, error)
        raise
    # Nothing of a client lies about twice once it is stored.
    run.home.clear_work()
    # A backfill tells at its end: a receiver that is down must not hold up every month.
    told = Told() if run.command == "backfill" else notify(run.home, run.alerting)
    return MonthResult(str(run.month), run.run_id, summary, alerted.raised, told)


@contextmanager
def _timings_kept(run: Run) -> Iterator[None]:
    """Has the block's timings written down however it ends; readers see `publish` with the next run's.

    What ended the block, a full disk perhaps, may refuse them too; its own error counts.
    """
    record_start_up(run)
    try:
        yield
    finally:
        with suppress(CreditflowError, duckdb.Error, OSError):
            ledger.record_timings(run.home, take_timings(run.run_id))


def _went_by(run: Run, found: ledger.Facts) -> ledger.Facts | None:
    """The facts that a run of a month answers to: outcomes that waited have been read by it."""
    if run.command == "outcomes":
        return None
    present = ledger.facts_now(run.home, run.month, run.options, run.as_of)
    return found | {"unread_outcomes": present["unread_outcomes"]}


def _stages(run: Run, retrain: bool) -> tuple[str, Alerted]:
    if run.command == "outcomes":
        return stages_of_outcomes(run)
    return stages_as_of_now(run) if run.as_of == "now" else stages(run, retrain)


def stages(run: Run, retrain: bool) -> tuple[str, Alerted]:
    """The month as a DAG, one line a stage."""
    clients = load_clients(run)
    outcomes = load_outcomes(run)
    decision = decide(run, retrain)
    champion = develop(run, decision)
    prepare_pages(run, champion)
    scored = score(run, champion)
    monitor(run)
    alerted = alert(run)
    report(run)
    return summarise(clients, outcomes, champion, scored), alerted


def stages_as_of_now(run: Run) -> tuple[str, Alerted]:
    """The month by today's champion; the decision of then, and the line of champions, stay as they are."""
    clients = load_clients(run)
    outcomes = load_outcomes(run)
    champion = champion_of_today(run)
    prepare_pages(run, champion)
    scored = score(run, champion)
    monitor(run)
    alerted = alert(run)
    report(run)
    return summarise(clients, outcomes, champion, scored), alerted


def stages_of_outcomes(run: Run) -> tuple[str, Alerted]:
    """Outcomes without clients: what they say of the months before them."""
    outcomes = load_outcomes(run)
    monitor(run)
    alerted = alert(run)
    report(run)
    return "; ".join(said_of(outcomes)) or "no new outcomes", alerted


def prepare_pages(run: Run, developed: Developed) -> None:
    """Has Evidently's process begin its imports, beside the stages before the pages."""
    if run.options.evidently and developed.champion:
        warm_up()


SAID = {"retrain": "retrained", "reuse": "reused the champion", "wait": "awaiting a first model"}


def summarise(clients: Loaded, outcomes: LoadedOutcomes, developed: Developed, scored: Scored) -> str:
    """One line: rows in and out, what was decided and why, what was scored."""
    parts = [
        f"{clients.rows:,} received = {clients.accepted:,} accepted + {clients.quarantined:,} quarantined",
        *said_of(outcomes),
        f"{SAID[developed.verdict]} ({developed.reason.rstrip('.')})",
    ]
    if scored.months:
        parts.append(f"scored {', '.join(map(str, scored.months))} by {developed.name}")
    elif developed.champion:
        parts.append("scores were current")
    return "; ".join(parts)


def said_of(outcomes: LoadedOutcomes) -> list[str]:
    """What became of outcome files, in words."""
    return [
        *(f"outcomes of {month} loaded" for month in outcomes.changed),
        *(f"outcomes of {month} wait for its clients" for month in outcomes.waiting),
    ]
