"""The backfill and rebuild flows: several months in order, recorded with range, reason, author and result.

By hand: `creditflow backfill 2005-04 2005-09 --reason "first load"`, `creditflow rebuild`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from prefect import flow
from prefect.runtime import deployment
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from creditflow.errors import BackfillIncomplete, CreditflowError
from creditflow.month import Month, month_range
from expectations.intake import find_file
from flows.lines import end_quietly
from flows.monthly import monthly
from flows.monthly import outcomes as outcomes_flow
from flows.options import alerting, run_options
from flows.settings import Settings, load_settings
from tasks import ledger
from tasks.home import Home, locked
from tasks.ledger import AsOf, MonthOutcome
from tasks.notify import notify
from tasks.plan import finished, stale_months, unread_outcomes, views
from tasks.publish import publish_database
from tasks.reports.beside import opened

# Told each month's line as soon as it is done: a range may take an hour, and its end may be an error.
listeners: list[Callable[[str], None]] = []


@dataclass(frozen=True)
class Wish:
    """How a range is to be run; see the flow `backfill`."""

    as_of: AsOf = "then"
    force: bool = False
    keep_going: bool = False


@dataclass
class Backfilled:
    """What became of each month, in order, and one line each."""

    outcomes: dict[str, MonthOutcome] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def months(self, outcome: MonthOutcome) -> list[str]:
        return [month for month, found in self.outcomes.items() if found == outcome]

    @property
    def summary(self) -> str:
        """How many months were done, were unchanged, and failed; those are named."""
        failed = self.months("failed")
        parts = [f"{len(self.months('done'))} done", f"{len(self.months('unchanged'))} unchanged"]
        parts.append(f"{len(failed)} failed" + (f" ({', '.join(failed)})" if failed else ""))
        return f"{len(self.outcomes)} months: {', '.join(parts)}; {self.seconds:,.0f} s"


# ── Flows ───────────────────────────────────────────────────────────────────────────────────────


@flow(name="backfill", flow_run_name="backfill-{first}-{last}", validate_parameters=False)
def backfill(
    first: str,
    last: str,
    reason: str,
    as_of: AsOf = "then",
    force: bool = False,
    keep_going: bool = False,
) -> Backfilled:
    """Runs the months from `first` to `last`; months that are up to date are skipped and named.

    Args:
        reason: kept with the backfill.
        as_of: `then`: each month as its monthly run would have gone, with outcomes of earlier months alone
            and the champion of then. `now`: by today's champion and outcomes; nothing is decided or trained.
        force: also months that are up to date.
        keep_going: a month that fails does not end it.

    Raises:
        CreditflowError: of the first month that could not be run; later months are not begun.
        BackfillIncomplete: with `keep_going`, months failed; all are named.
    """
    months = month_range(Month.parse(first), Month.parse(last))
    wish = Wish(as_of, force, keep_going)
    return _recorded(load_settings(), dict.fromkeys(months, wish), reason, as_of)


@flow(name="rebuild", flow_run_name="rebuild", validate_parameters=False)
def rebuild(reason: str) -> Backfilled:
    """Runs every stale month in order, and takes in outcomes that came before the next month's clients.

    A month that becomes stale by what an earlier one changed is run in its turn; one that was last scored as
    of now is scored so again. Months that were never loaded are left to their own run.
    """
    settings = load_settings()
    home = Home(settings.home)
    with locked(home, "the rebuild", settings.lock_wait_seconds):
        stale = stale_months(home, run_options(settings))
        wishes = {m: Wish(as_of) for m, as_of in views(home).items() if stale and m >= min(stale)}
        done = _recorded(settings, wishes, reason, "then") if wishes else Backfilled()
        if unread_outcomes(home):
            _take_outcomes(home, done)
        notify(home, alerting(settings))
    return done


def _take_outcomes(home: Home, done: Backfilled) -> None:
    newest = ledger.newest_month(home)
    if newest is not None:
        _tell(done, f"outcomes: {outcomes_flow(str(newest)).summary}")


# ── Steps ───────────────────────────────────────────────────────────────────────────────────────


def _recorded(settings: Settings, wishes: Mapping[Month, Wish], reason: str, as_of: AsOf) -> Backfilled:
    """Runs the months, which come in order, under the home's lock and writes down how it went."""
    home, months = Home(settings.home), list(wishes)
    if deployment.id:
        end_quietly()
    started, done = time.monotonic(), Backfilled()
    with locked(home, f"the backfill of {months[0]} to {months[-1]}", settings.lock_wait_seconds):
        backfill_id = ledger.open_backfill(home, str(months[0]), str(months[-1]), reason, as_of)
        try:
            # Each heartbeat's thread is waited for at a run's end: half a second a month.
            # Evidently's process serves all months.
            with opened(), temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
                _run_all(home, settings, wishes, backfill_id, done)
        except BaseException as error:
            ledger.close_backfill(home, backfill_id, _stopped(months, done, error))
            # What stopped it, a full disk perhaps, may stop these too; its own error counts.
            with suppress(CreditflowError):
                publish_database(home, settings.memory_limit)
                notify(home, alerting(settings))
            raise
        done.seconds = time.monotonic() - started
        ledger.close_backfill(home, backfill_id, done.summary)
        publish_database(home, settings.memory_limit)
        notify(home, alerting(settings))
    if done.months("failed"):
        raise _incomplete(done)
    return done


def _stopped(months: Sequence[Month], done: Backfilled, error: BaseException) -> str:
    finished = {*done.months("done"), *done.months("unchanged")}
    month = next((month for month in months if str(month) not in finished), months[-1])
    return f"stopped at {month} after {len(finished)} of {len(months)} months: {error}"


def _run_all(
    home: Home,
    settings: Settings,
    wishes: Mapping[Month, Wish],
    backfill_id: str,
    done: Backfilled,
) -> None:
    for month, wish in wishes.items():
        started = time.monotonic()
        outcome: MonthOutcome
        try:
            outcome, line = _one(home, settings, month, wish, backfill_id)
        except CreditflowError as error:
            outcome, line = "failed", str(error)
            if not wish.keep_going:
                _write_down(home, backfill_id, month, outcome, line, started, done)
                raise
        _write_down(home, backfill_id, month, outcome, line, started, done)
        _tell(done, f"{month}: {line}" if outcome != "failed" else f"{month}: failed: {line}")


def _write_down(
    home: Home,
    backfill_id: str,
    month: Month,
    outcome: MonthOutcome,
    line: str,
    started: float,
    done: Backfilled,
) -> None:
    done.outcomes[str(month)] = outcome
    ledger.record_month(home, backfill_id, month, outcome, line, time.monotonic() - started)


def _one(
    home: Home, settings: Settings, month: Month, wish: Wish, backfill_id: str
) -> tuple[MonthOutcome, str]:
    current = {} if wish.force else finished(home, [month], run_options(settings), wish.as_of)
    if current:
        return "unchanged", current[month].said
    find_file(home.inbox, "clients", month)
    result = monthly(str(month), backfill_id=backfill_id, command="backfill", as_of=wish.as_of)
    return "done", result.summary


def _tell(done: Backfilled, line: str) -> None:
    done.lines.append(line)
    for listener in listeners:
        listener(line)


def _incomplete(done: Backfilled) -> BackfillIncomplete:
    return BackfillIncomplete(
        "backfill",
        expected="every month done",
        found=done.summary,
        remedy="Each month's line above says why; mend it and give the same command again.",
    )
