"""Where every month stands, for `creditflow status`: docs/status.md says what each field means.

Looking disturbs no run: a home with one at work is read from the readers' copy. An empty home stays empty. Of
a damaged one the readers' copy is shown, with a line that says so.
"""

import fcntl
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import duckdb

from creditflow.errors import CreditflowError, HomeLocked, HomeUnusable, WarehouseCorrupt
from creditflow.month import Month
from expectations.intake import list_files, misnamed_files
from sql.warehouse import frame, open_published, open_warehouse
from tasks.derived import due_months
from tasks.home import Home
from tasks.options import Options
from tasks.schedule import Clock, Overdue, overdue_after

Source = Literal["warehouse", "published", "none"]
# Another look, or an analyst, holds the database for a moment; a run is seen by its lock.
_PAUSES = (0.05, 0.1, 0.2, 0.2)


@dataclass(frozen=True)
class MonthStatus:
    """Where one month stands. Figures are the champion's; None where one does not exist or is not known."""

    month: str
    file: str | None
    revision: int | None
    file_sha256: str | None
    loaded_at: datetime | None
    received: int | None
    accepted: int | None
    quarantined: int | None
    model: str | None
    version: str | None
    basis: str | None
    scored: int | None
    scored_at: datetime | None
    outcomes: int | None
    defaulters: int | None
    auc_estimated: float | None
    auc_estimated_sd: float | None
    auc_realised: float | None
    psi: float | None
    psi_band: str | None
    run_id: str | None
    run_command: str | None
    run_status: str | None
    run_started_at: datetime | None
    run_ended_at: datetime | None
    run_message: str | None
    alerts_critical: int | None
    alerts_warning: int | None
    alerts_info: int | None
    report: Literal["built", "due", "none"]
    report_built_at: datetime | None
    stale: bool | None
    stale_reason: str | None


@dataclass(frozen=True)
class Waiting:
    """A file in the inbox that no run has read, and in words which run will, if any."""

    kind: Literal["clients", "outcomes", "misnamed"]
    month: str | None
    text: str


@dataclass(frozen=True)
class Status:
    """A home as it was found.

    `source` is what the months were read from, `problem` why that is not the warehouse; `not_looked_at` says
    why no month's staleness is known. `overdue` is None where it cannot be told.
    """

    home: Path
    looked_at: datetime
    source: Source
    problem: str | None
    not_looked_at: str | None
    months: tuple[MonthStatus, ...]
    waiting: tuple[Waiting, ...]
    overdue: tuple[Overdue, ...] | None

    def as_dict(self) -> dict[str, Any]:
        """A form that JSON keeps: times in UTC as ISO 8601, null where a thing is not known."""
        return {
            "home": str(self.home),
            "looked_at": iso(self.looked_at),
            "source": self.source,
            "problem": self.problem,
            "not_looked_at": self.not_looked_at,
            "months": [{name: iso(value) for name, value in asdict(month).items()} for month in self.months],
            "waiting": [asdict(file) for file in self.waiting],
            "overdue": None
            if self.overdue is None
            else [{"month": str(o.month), "expected_by": iso(o.expected_by)} for o in self.overdue],
        }


def iso(value: Any) -> Any:
    """A value as JSON keeps it. The tables hold UTC without a zone."""
    if not isinstance(value, datetime):
        return value
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# ── Looking ─────────────────────────────────────────────────────────────────────────────────────


def look(home: Home, options: Options, clock: Clock, now: datetime) -> Status:
    """Every month of a home, newest first, with what waits and what is overdue.

    Raises:
        WarehouseNewer: the home was migrated by a newer creditflow.
    """
    found = _read(home)
    stale, not_looked_at = _staleness(home, options, found)
    months = tuple(_month_status(home, row, found.due, stale) for row in found.rows)
    # Without a database nothing was ever loaded; with one that cannot be read nobody knows.
    known = found.source != "none" or not home.warehouse.exists()
    newest = max((Month.parse(m.month) for m in months if m.received is not None), default=None)
    return Status(
        home=home.root,
        looked_at=now,
        source=found.source,
        problem=found.problem,
        not_looked_at=not_looked_at,
        months=months,
        waiting=tuple(waiting_files(home, months)) if known else (),
        overdue=tuple(overdue_after(newest, home.inbox, clock, now)) if known else None,
    )


@dataclass(frozen=True)
class _Found:
    """Rows of `status_by_month`, and the months whose report is due; None where that is not known."""

    rows: list[dict[str, Any]]
    due: frozenset[str] | None
    source: Source
    problem: str | None


def _read(home: Home) -> _Found:
    holder = who_works(home)
    if holder:
        return _read_published(home, f"{holder} is going on")
    if not home.warehouse.is_file():
        return _Found([], frozenset(), "none", None)
    try:
        with _opened(home) as con:
            rows = frame(con, "status_by_month").to_dicts()
            last = Month.parse(rows[0]["month"]) if rows else None
            due = due_months(con, last, "report") if last else {}
            return _Found(rows, frozenset(map(str, due)), "warehouse", None)
    except HomeLocked:
        return _read_published(home, "another process has the database open")
    except (WarehouseCorrupt, HomeUnusable) as error:
        return _read_published(home, str(error))


def _read_published(home: Home, problem: str) -> _Found:
    try:
        with open_published(home.published) as con:
            return _Found(frame(con, "status_by_month").to_dicts(), None, "published", problem)
    except HomeUnusable:
        nothing = f"{problem.rstrip('.')}; nothing has been published that could be shown instead"
        return _Found([], None, "none", nothing)
    except WarehouseCorrupt:
        return _Found([], None, "none", f"{problem.rstrip('.')}; the published copy cannot be read either")
    except (duckdb.CatalogException, duckdb.BinderException):
        return _Found([], None, "none", f"{problem}; the published copy was made by another version")


@contextmanager
def _opened(home: Home) -> Iterator[duckdb.DuckDBPyConnection]:
    """The writer's database, waiting a moment for another that only looks."""
    with ExitStack() as stack:
        for pause in (*_PAUSES, None):
            try:
                con = stack.enter_context(open_warehouse(home.warehouse))
                break
            except HomeLocked:
                if pause is None:
                    raise
                time.sleep(pause)
        yield con


@contextmanager
def looked_into(home: Home) -> Iterator[duckdb.DuckDBPyConnection | None]:
    """The writer's database, or the readers' one where it is in use; None where there is none yet.

    Raises:
        HomeUnusable: a first run is going on, and nothing has been published yet.
    """
    with ExitStack() as stack:
        if not home.warehouse.is_file():
            yield None
            return
        con = None
        if who_works(home) is None:
            with suppress(HomeLocked):
                con = stack.enter_context(_opened(home))
        yield con or stack.enter_context(open_published(home.published))


def who_works(home: Home) -> str | None:
    """The run, backfill or backup that holds the home's lock, in words; None where nobody does."""
    try:
        with (home.root / ".lock").open() as file:
            # Shared, so that two who look do not take each other for a run.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(home.root / ".lock.json")
    except OSError:
        return None
    return None


def _holder(note: Path) -> str:
    with suppress(OSError, ValueError, KeyError):
        facts = json.loads(note.read_text())
        return f"{facts['what']} (process {facts['pid']}, since {facts['since']})"
    return "another command"


# ── One month ───────────────────────────────────────────────────────────────────────────────────


def _staleness(home: Home, options: Options, found: _Found) -> tuple[dict[Month, str] | None, str | None]:
    """Stale months with the reason, or None and why nobody looked."""
    if found.problem:
        return None, found.problem
    if not found.rows:
        return {}, None
    # Not at the head, so that a home that cannot be read pays for none of it.
    from tasks.plan import stale_months

    try:
        return stale_months(home, options), None
    except HomeLocked:
        return None, "a run began in the meantime"
    except CreditflowError as error:
        # A file that cannot be read is a matter of its month's run; the table is shown all the same.
        return None, str(error)


def _month_status(
    home: Home, row: dict[str, Any], due: frozenset[str] | None, stale: dict[Month, str] | None
) -> MonthStatus:
    month = Month.parse(row["month"])
    built_at = _written_at(home.month_page(month))
    behind = built_at is None if due is None else row["month"] in due
    reason = (stale or {}).get(month)
    # What never had a result cannot be behind.
    looked = stale is not None and row["received"] is not None
    return MonthStatus(
        **row,
        report="none" if built_at is None and not (due and behind) else "due" if behind else "built",
        report_built_at=built_at,
        stale=reason is not None if looked else None,
        stale_reason=reason,
    )


def _written_at(page: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(page.stat().st_mtime, UTC)
    except FileNotFoundError:
        return None


# ── The inbox ───────────────────────────────────────────────────────────────────────────────────


def _reader(month: Month, has_clients: bool) -> str:
    """What reads the outcomes of a month: not before its clients are there."""
    run = f"the run of {month.plus(1)}"
    if has_clients:
        return f"creditflow rebuild reads them, or {run}"
    return f"once its clients are loaded, {run} or a later one reads them"


def waiting_files(home: Home, months: Sequence[MonthStatus]) -> list[Waiting]:
    """What lies in the inbox and was not read yet, and which run will read it, if any."""
    scored = {Month.parse(m.month) for m in months if m.received is not None}
    realised = {Month.parse(m.month) for m in months if m.outcomes is not None}
    clients = [m for m in list_files(home.inbox, "clients") if m not in scored]
    outcomes = [m for m in list_files(home.inbox, "outcomes") if m not in realised]
    return [
        *(
            Waiting("clients", str(m), f"clients of {m} are in the inbox: creditflow run {m}")
            for m in clients
        ),
        *(
            Waiting("outcomes", str(m), f"outcomes of {m} are in the inbox: {_reader(m, m in scored)}")
            for m in outcomes
        ),
        *(
            Waiting(
                "misnamed",
                None,
                f"{path.name} is in the inbox and is never read: name it clients_YYYY-MM or outcomes_YYYY-MM",
            )
            for path in misnamed_files(home.inbox)
        ),
    ]
