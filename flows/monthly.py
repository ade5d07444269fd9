"""The monthly flow: from the files in the inbox to scores, reports and the readers' database.

Runs on schedule, or by hand: `creditflow run 2005-09`. The same files, model and code change nothing.
"""

from dataclasses import dataclass

from prefect import flow

from creditflow.month import Month
from creditflow.version import code_version
from flows.options import run_options
from flows.settings import Settings, load_settings
from tasks import ledger
from tasks.alerts import Alert, Alerted, alert
from tasks.decide import decide
from tasks.develop import Developed, develop
from tasks.home import Home, locked
from tasks.load import Loaded, LoadedOutcomes, load_clients, load_outcomes
from tasks.monitor import monitor
from tasks.publish import publish, report
from tasks.score import Scored, score
from tasks.stage import Run, take_timings


@dataclass(frozen=True)
class MonthResult:
    """What a run did, in the words that the command line prints."""

    month: str
    run_id: str
    summary: str
    alerts: tuple[Alert, ...] = ()  # those that were raised


@flow(name="monthly", flow_run_name="monthly-{month}")
def monthly(month: str, retrain: bool = False, backfill_id: str | None = None) -> MonthResult:
    """Runs one month under the home's lock.

    Args:
        month: `YYYY-MM`.
        retrain: develop the models anew even where the rule says reuse.
        backfill_id: the backfill that this run belongs to.
    """
    settings = load_settings()
    home = Home(settings.home)
    with locked(home, f"the run of {month}", settings.lock_wait_seconds):
        return run_month(new_run(home, Month.parse(month), settings), retrain, backfill_id)


def new_run(home: Home, month: Month, settings: Settings) -> Run:
    """The identity of a run that begins now."""
    return Run(ledger.new_run_id(), month, home, code_version(), run_options(settings), settings.memory_limit)


def run_month(run: Run, retrain: bool, backfill_id: str | None) -> MonthResult:
    """The stages of one month, written down in the ledger; the caller holds the lock."""
    run.home.clear_work()
    with ledger.recorded(run.home, run.run_id, run.month, "run", backfill_id):
        summary, alerted = stages(run, retrain)
        mark = ledger.fingerprint(run.home, run.month, run.options)
        ledger.record_timings(run.home, take_timings(run.run_id))
        ledger.close(run.home, run.run_id, "done", message=summary, mark=mark)
        publish(run)
    # Nothing of a client lies about twice once it is stored.
    run.home.clear_work()
    return MonthResult(str(run.month), run.run_id, summary, alerted.raised)


def stages(run: Run, retrain: bool) -> tuple[str, Alerted]:
    """The month as a DAG, one line a stage."""
    clients = load_clients(run)
    outcomes = load_outcomes(run)
    decision = decide(run, retrain)
    champion = develop(run, decision)
    scored = score(run, champion)
    monitor(run)
    alerted = alert(run)
    report(run)
    return summarise(clients, outcomes, champion, scored), alerted


SAID = {"retrain": "retrained", "reuse": "reused the champion", "wait": "awaiting a first model"}


def summarise(clients: Loaded, outcomes: LoadedOutcomes, developed: Developed, scored: Scored) -> str:
    """One line: rows in and out, what was decided and why, what was scored."""
    parts = [
        f"{clients.rows:,} received = {clients.accepted:,} accepted + {clients.quarantined:,} quarantined",
        *(f"outcomes of {month} loaded" for month in outcomes.changed),
        *(f"outcomes of {month} wait for its clients" for month in outcomes.waiting),
        f"{SAID[developed.verdict]} ({developed.reason.rstrip('.')})",
    ]
    if scored.months:
        parts.append(f"scored {', '.join(map(str, scored.months))} by {developed.name}")
    elif developed.champion:
        parts.append("scores were current")
    return "; ".join(parts)
