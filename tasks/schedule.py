"""Which month the clock asks for, when, and which months are overdue.

A run on day D at hour H of a month is for the month `schedule_lag_months` before. Pure but for
`overdue_months`, and importable without Prefect or torch.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

from creditflow.month import Month, month_range
from expectations.intake import list_files
from sql.warehouse import execute
from tasks.home import Home
from tasks.ledger import readable

# Prefect's clock starts a run that early where daylight saving skips the hour that was asked for.
EARLY = timedelta(hours=1)


class Clock(Protocol):
    """What the settings say of the schedule."""

    @property
    def schedule_day(self) -> int: ...

    @property
    def schedule_hour(self) -> int: ...

    @property
    def schedule_timezone(self) -> str: ...

    @property
    def schedule_lag_months(self) -> int: ...


@dataclass(frozen=True)
class Overdue:
    """A month whose client file is not in the inbox, and the moment (UTC) by which it was expected."""

    month: Month
    expected_by: datetime


# ── The clock ───────────────────────────────────────────────────────────────────────────────────


def cron(clock: Clock) -> str:
    """The schedule as a cron expression, to be read in `schedule_timezone`."""
    return f"0 {clock.schedule_hour} {clock.schedule_day} * *"


def due_at(month: Month, clock: Clock) -> datetime:
    """The moment (UTC) at which the clock asks for `month`.

    An hour that daylight saving skips counts as the moment of the change, one that comes twice as the first.
    """
    asked = month.plus(clock.schedule_lag_months)
    zone = ZoneInfo(clock.schedule_timezone)
    local = datetime(asked.year, asked.number, clock.schedule_day, clock.schedule_hour, tzinfo=zone)
    return local.astimezone(UTC)


def expected_month(now: datetime, clock: Clock) -> Month:
    """The newest month that the clock has asked for.

    Args:
        now: a moment with its zone.
    """
    local = now.astimezone(ZoneInfo(clock.schedule_timezone))
    month = Month(local.year, local.month).plus(-clock.schedule_lag_months)
    return month if due_at(month, clock) <= now else month.plus(-1)


# ── What has not come ───────────────────────────────────────────────────────────────────────────


def overdue_months(home: Home, clock: Clock, now: datetime) -> list[Overdue]:
    """Months after the newest loaded one, up to the expected one, whose client file is not in the inbox.

    A home into which nothing was ever loaded expects nothing. Reads the readers' database while another
    process holds the writer's.

    Raises:
        WarehouseCorrupt: the database cannot be read.
    """
    return overdue_after(_newest_loaded(home), home.inbox, clock, now)


def overdue_after(newest: Month | None, inbox: Path, clock: Clock, now: datetime) -> list[Overdue]:
    """The same, where the newest loaded month is known already; None where nothing was ever loaded."""
    expected = expected_month(now, clock)
    if newest is None or expected <= newest:
        return []
    present = list_files(inbox, "clients")
    absent = (month for month in month_range(newest.plus(1), expected) if month not in present)
    return [Overdue(month, due_at(month, clock)) for month in absent]


def _newest_loaded(home: Home) -> Month | None:
    if not home.warehouse.is_file():
        return None
    with readable(home) as con:
        rows = execute(con, "newest_loaded_month")
    return Month.parse(rows[0][0]) if rows[0][0] else None
