"""The flow that the clock starts: it runs every month up to the expected one that is not up to date.

By `creditflow serve`, or by a worker on the deployment `monthly`. By hand: `creditflow run MONTH`.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from prefect import flow
from prefect.runtime import deployment, flow_run

from creditflow.errors import CreditflowError, HomeLocked
from creditflow.month import Month
from expectations.intake import list_files
from flows.lines import end_quietly, speak
from flows.monthly import monthly, outcomes
from flows.options import alerting, run_options, run_patience
from flows.settings import Settings, load_settings
from tasks import ledger
from tasks.home import Home, locked
from tasks.notify import notify_overdue
from tasks.plan import plan, unread_outcomes
from tasks.schedule import EARLY, Overdue, expected_month, overdue_months

R = TypeVar("R")

_log = logging.getLogger("creditflow.schedule")


def _run_name() -> str:
    month = (flow_run.parameters or {}).get("month") or _asked_for(load_settings())
    return f"scheduled-{month}"


def _asked_for(settings: Settings) -> Month:
    return expected_month(datetime.now(UTC) + EARLY, settings)


@flow(name="scheduled", flow_run_name=_run_name, validate_parameters=False)
def scheduled(month: str | None = None) -> list[str]:
    """Runs, oldest first, every month up to `month` whose file is in the inbox and that is not up to date.

    Args:
        month: `YYYY-MM`; the month that the clock asks for when left out.

    Returns:
        One line a month that was run, and one a month whose file has not come.

    Raises:
        CreditflowError: months that could not be run, all of them named; the others were run.
    """
    settings, now = load_settings(), datetime.now(UTC)
    home = Home(settings.home).prepare()
    until = Month.parse(month) if month else _asked_for(settings)
    speak()
    if deployment.id:
        end_quietly()
    lines, failed = _run_all(home, settings, until)
    missing = [late for late in overdue_months(home, settings, now) if late.month <= until]
    lines += [_say(_not_come(overdue)) for overdue in missing]
    # Also where nothing is overdue: it tells what a scheduled run that was killed left untold.
    _patiently(partial(_tell_overdue, home, settings, missing), settings)
    if missing:
        _look_again(settings, now)
    if not lines and not failed:
        lines.append(_say(f"{until}: nothing to do; every month that has come is up to date"))
    if failed:
        raise _joined(failed)
    return lines


def due(home: Home, settings: Settings, until: Month) -> list[Month]:
    """Months up to `until` whose file has come and that were never run to their end, and a stale newest one.

    Older months that are stale wait for a person (`creditflow rebuild`): an upgrade of the code must not
    replace years of scores by itself at night. An alert names them.
    """
    present = [month for month in list_files(home.inbox, "clients") if month <= until]
    steps = plan(home, present, run_options(settings))
    # A file that cannot be taken, such as one of two for a month, is to be refused by name.
    behind = [step for step in steps if step.action != "skip"]
    return [step.month for step in behind if step.never_done or step.month == present[-1]]


# ── Steps ───────────────────────────────────────────────────────────────────────────────────────


def _run_all(home: Home, settings: Settings, until: Month) -> tuple[list[str], dict[Month, Exception]]:
    """A month that fails does not hold up the later ones: nobody may be there to see to it."""
    lines: list[str] = []
    failed: dict[Month, Exception] = {}
    for month in due(home, settings, until):
        # What an earlier month changed decides whether a later one is still due.
        if month not in due(home, settings, month):
            continue
        try:
            result = _patiently(partial(monthly, str(month), command="schedule"), settings)
        except Exception as error:
            failed[month] = error
        else:
            lines.append(_say(f"{month}: {result.summary}"))
            for alert in result.alerts:
                _say(f"{month}: {alert.severity} alert: {alert.message}")
    lines += _late_outcomes(home, settings)
    return lines, failed


def _late_outcomes(home: Home, settings: Settings) -> list[str]:
    """Outcomes that no run of a month has read: those of the newest month, before the next clients come."""
    newest = ledger.newest_month(home) if unread_outcomes(home) else None
    if newest is None:
        return []
    return [_say(f"outcomes: {_patiently(partial(outcomes, str(newest)), settings).summary}")]


def _patiently(act: Callable[[], R], settings: Settings, sleep: Callable[[float], None] = time.sleep) -> R:
    """Tries again while another process holds the home, as stages do."""
    for pause in run_patience(settings).pauses:
        try:
            return act()
        except HomeLocked as error:
            _say(f"the home is held, trying again in {pause:g} s: {error}")
            sleep(pause)
    return act()


def _tell_overdue(home: Home, settings: Settings, missing: list[Overdue]) -> None:
    with locked(home, "a look for overdue files", settings.lock_wait_seconds):
        told = notify_overdue(home, alerting(settings), missing)
    for text in told.lines:
        _say(text)


def _look_again(settings: Settings, now: datetime) -> None:
    """Has the server start this deployment again later; a run without a deployment has nobody to ask."""
    hours = settings.schedule_look_again_hours
    if not (hours and deployment.id):
        return
    from prefect.client.orchestration import get_client
    from prefect.states import Scheduled

    moment = now + timedelta(hours=hours)
    with get_client(sync_client=True) as client:
        client.create_flow_run_from_deployment(
            deployment.id,
            state=Scheduled(scheduled_time=moment),
            # Looks that fall into the same hour are one.
            idempotency_key=f"look-again-{moment:%Y-%m-%dT%H}",
        )
    _say(f"looking again at {moment:%Y-%m-%d %H:%M} UTC")


def _not_come(overdue: Overdue) -> str:
    return (
        f"{overdue.month}: clients_{overdue.month} has not come; "
        f"it was expected by {overdue.expected_by:%Y-%m-%d %H:%M} UTC"
    )


def _joined(failed: dict[Month, Exception]) -> Exception:
    """The error of the only month, or one that names them all."""
    if len(failed) == 1:
        return next(iter(failed.values()))
    joined = CreditflowError(
        f"the months {', '.join(map(str, failed))}",
        expected="months that can be run",
        found="; ".join(f"{month}: {_words(error)}" for month, error in failed.items()),
        remedy="See to each; the next scheduled run tries them again.",
    )
    # The first one's traceback is kept for whoever looks in Prefect's pages.
    joined.__cause__ = next(iter(failed.values()))
    return joined


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, CreditflowError) else f"{type(error).__name__}: {error}"


# ── What is said ────────────────────────────────────────────────────────────────────────────────


def _say(line: str) -> str:
    _log.info(line)
    return line
