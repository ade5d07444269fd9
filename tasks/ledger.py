"""The ledger of runs: who ran which month, with what result, and whether a month is up to date.

Kept apart from the stages so that "nothing to do" is answered without importing Prefect or torch.
"""

import getpass
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from creditflow.errors import CreditflowError, WarehouseCorrupt
from creditflow.month import Month
from creditflow.version import code_version
from expectations import intake
from sql.warehouse import execute, open_published, open_warehouse, transaction
from tasks.home import Home


@dataclass(frozen=True)
class Finished:
    """The latest finished run of a month."""

    run_id: str
    ended_at: datetime
    fingerprint: str


def now() -> datetime:
    """The present in UTC, without zone: the form that the tables hold."""
    return datetime.now(UTC).replace(tzinfo=None)


def user() -> str:
    """Who is at work; a container's user may have a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def new_run_id() -> str:
    """Sortable by time, unique without coordination."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}"


# ── Up to date or not ───────────────────────────────────────────────────────────────────────────


def fingerprint(home: Home, month: Month, options: object) -> str:
    """A digest of all that decides a month's rows: files, champion in force or chosen, options and code."""
    with open_warehouse(home.warehouse) as con:
        champion = execute(con, "champion_before", month=str(month))
        chosen = [row[:2] for row in execute(con, "chosen_for", month=str(month))]
    facts = {
        "clients": _digest(home, "clients", month),
        "outcomes": {str(m): _digest(home, "outcomes", m) for m in _earlier_outcomes(home, month)},
        "champion": champion,
        "chosen": chosen,
        "options": asdict(options),  # type: ignore[call-overload]
        "code": code_version(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _earlier_outcomes(home: Home, month: Month) -> list[Month]:
    return sorted(m for m in intake.list_files(home.inbox, "outcomes") if m < month)


def _digest(home: Home, kind: intake.Kind, month: Month) -> str:
    return intake.fingerprint(intake.find_file(home.inbox, kind, month)).sha256


def up_to_date(home: Home, month: Month, mark: str) -> Finished | None:
    """The run that already did this month with the same fingerprint, if its results still stand."""
    if not (home.published.is_file() and home.month_page(month).is_file()):
        return None
    with open_warehouse(home.warehouse) as con:
        rows = execute(con, "last_finished_run", month=str(month))
    if not rows or rows[0][2] != mark or not _published(home, rows[0][0]):
        return None
    return Finished(*rows[0])


def _published(home: Home, run_id: str) -> bool:
    """Whether readers see that run: a kill can fall between its end and the rename."""
    try:
        with open_published(home.published) as con:
            return bool(execute(con, "run_status", run_id=run_id))
    except WarehouseCorrupt:
        # The readers' copy is rebuilt from the writer's database by the run that follows.
        return False


# ── Recording ───────────────────────────────────────────────────────────────────────────────────


@contextmanager
def recorded(home: Home, run_id: str, month: Month, command: str, backfill_id: str | None) -> Iterator[None]:
    """Writes the run down at its start, and its end as done, refused or failed.

    Runs that a kill left behind as running are swept first: the lock says that none is alive.
    """
    with open_warehouse(home.warehouse) as con, transaction(con):
        execute(con, "sweep_runs", ended_at=now())
        execute(
            con,
            "start_run",
            run_id=run_id,
            month=str(month),
            command=command,
            started_at=now(),
            code_version=code_version(),
            backfill_id=backfill_id,
            pid=os.getpid(),
        )
    try:
        yield
    except CreditflowError as error:
        close(home, run_id, "refused", message=str(error))
        raise
    except BaseException as error:
        close(home, run_id, "failed", message=f"{type(error).__name__}: {error}")
        raise


def close(home: Home, run_id: str, status: str, *, message: str, mark: str | None = None) -> None:
    """Ends a run in the ledger."""
    with open_warehouse(home.warehouse) as con:
        execute(
            con, "end_run", run_id=run_id, status=status, message=message, fingerprint=mark, ended_at=now()
        )


def record_timings(home: Home, rows: list[Any]) -> None:
    """Stores the timings of a run's stages."""
    with open_warehouse(home.warehouse) as con:
        for row in rows:
            execute(con, "insert_timing", **asdict(row))


# ── Backfills ───────────────────────────────────────────────────────────────────────────────────


def open_backfill(home: Home, first: str, last: str, reason: str, requested_by: str) -> str:
    """Writes a backfill down with its range, reason and author; returns its identity."""
    backfill_id = f"backfill-{new_run_id()}"
    with open_warehouse(home.warehouse) as con:
        execute(
            con,
            "start_backfill",
            backfill_id=backfill_id,
            first=first,
            last=last,
            reason=reason,
            requested_by=requested_by,
            started_at=now(),
        )
    return backfill_id


def close_backfill(home: Home, backfill_id: str, result: str) -> None:
    """Writes down how a backfill ended."""
    with open_warehouse(home.warehouse) as con:
        execute(con, "end_backfill", backfill_id=backfill_id, result=result, ended_at=now())
