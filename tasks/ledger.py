"""The ledger of runs: who ran which month, with what result, and whether a month is up to date.

Kept apart from the stages so that "nothing to do" is answered without importing Prefect or torch.
"""

import getpass
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import duckdb

from creditflow.errors import CreditflowError, HomeLocked
from creditflow.month import Month
from creditflow.version import code_version
from expectations import intake
from expectations.digests import recall
from sql.warehouse import execute, open_published, open_warehouse, transaction
from tasks.home import Home
from tasks.options import Options

AsOf = Literal["then", "now"]
MonthOutcome = Literal["done", "unchanged", "failed"]
Facts = dict[str, Any]
# Later than any month: the champion "before" it is today's.
NEVER_BEFORE = "9999-12"


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


@contextmanager
def readable(home: Home) -> Iterator[duckdb.DuckDBPyConnection]:
    """The writer's database, or the readers' one while a run holds the former."""
    with ExitStack() as stack:
        try:
            con = stack.enter_context(open_warehouse(home.warehouse))
        except HomeLocked:
            con = stack.enter_context(open_published(home.published))
        yield con


# ── Up to date or not ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Contents:
    """SHA-256 of every month's content, by kind: what lies in the inbox, and what is loaded.

    A file is read when it is asked for, once a look; one that stays as it is, once ever.
    """

    inbox: Mapping[intake.Kind, Mapping[Month, Path]]
    loaded: Mapping[intake.Kind, Mapping[Month, str]]
    # A file that is too new to be remembered would be read for every month that is held against it.
    _read: dict[Path, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def now(self, kind: intake.Kind, month: Month) -> str | None:
        """That of the file in the inbox, else the loaded one: taking a loaded file out changes nothing."""
        path = self.inbox[kind].get(month)
        return self.loaded[kind].get(month) if path is None else self._sha256(path)

    def _sha256(self, path: Path) -> str:
        if path not in self._read:
            self._read[path] = intake.fingerprint(path).sha256
        return self._read[path]

    def outcomes(self) -> dict[Month, str]:
        """The newest outcomes of every month that has any."""
        months = sorted({*self.inbox["outcomes"], *self.loaded["outcomes"]})
        return {month: sha256 for month in months if (sha256 := self.now("outcomes", month))}

    def unread_outcomes(self) -> list[Month]:
        """Months with clients whose newest outcomes are not the loaded ones."""
        known, loaded = self.loaded["clients"], self.loaded["outcomes"]
        return [m for m, sha256 in self.outcomes().items() if m in known and loaded.get(m) != sha256]


def contents(con: duckdb.DuckDBPyConnection, home: Home) -> Contents:
    """What lies in the inbox and what is loaded."""
    recall(home.inbox, home.digests)
    kinds: tuple[intake.Kind, ...] = ("clients", "outcomes")
    loaded: dict[intake.Kind, dict[Month, str]] = {kind: {} for kind in kinds}
    for sha256, kind, month in execute(con, "loaded_files"):
        loaded[kind][Month.parse(month)] = sha256
    return Contents({kind: _in_inbox(home, kind) for kind in kinds}, loaded)


def _in_inbox(home: Home, kind: intake.Kind) -> dict[Month, Path]:
    # Two files for one month are refused by the run that needs them, not by a look.
    files = intake.list_files(home.inbox, kind)
    return {month: paths[0] for month, paths in files.items() if len(paths) == 1}


def facts(
    con: duckdb.DuckDBPyConnection,
    month: Month,
    options: Options,
    found: Contents,
    as_of: AsOf = "then",
) -> Facts:
    """All that decides a month's rows: contents, champion in force or chosen, options and code.

    Of earlier months it covers those that a model of this month can learn from. Their clients count as they
    are loaded: a run of this month does not read a newer file of another. Older outcomes count while they
    wait to be loaded.
    """
    first = month.plus(-options.training_window_months)
    loaded, outcomes = found.loaded["clients"], found.outcomes()
    earlier, unread = {m for m in loaded if first <= m < month}, found.unread_outcomes()
    known = {m for m in outcomes if first <= m < month}
    if as_of == "now":
        earlier, known = set(), {month} & outcomes.keys()
    until = str(month) if as_of == "then" else NEVER_BEFORE
    chosen = execute(con, "chosen_for", month=str(month)) if as_of == "then" else []
    return {
        "clients": found.now("clients", month),
        "earlier_clients": {str(m): loaded[m] for m in sorted(earlier)},
        "outcomes": {str(m): outcomes[m] for m in sorted(known)},
        "unread_outcomes": [str(m) for m in unread if m < month or as_of == "now"],
        "champion": ["@".join(row[:2]) for row in execute(con, "champion_before", month=until)],
        "chosen": ["@".join(row[:2]) for row in chosen],
        "options": asdict(options),
        "code": code_version(),
        "as_of": as_of,
    }


def digest(found: Facts) -> str:
    """The fingerprint: equal facts, equal digest."""
    return hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()


def facts_now(home: Home, month: Month, options: Options, as_of: AsOf = "then") -> Facts:
    """`facts` of the home as it is."""
    with open_warehouse(home.warehouse) as con:
        return facts(con, month, options, contents(con, home), as_of)


def newest_month(home: Home) -> Month | None:
    """The newest month whose clients are loaded."""
    with open_warehouse(home.warehouse) as con:
        ((month,),) = execute(con, "newest_loaded_month")
    return Month.parse(month) if month else None


# ── Recording ───────────────────────────────────────────────────────────────────────────────────


@contextmanager
def recorded(home: Home, run_id: str, month: Month, command: str, backfill_id: str | None) -> Iterator[None]:
    """Writes the run down at its start, and its end as done, refused or failed.

    Runs that a kill left behind as running are swept first: the lock says that none is alive.
    """
    with open_warehouse(home.warehouse) as con, transaction(con):
        _sweep(con, backfill_id)
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


def _sweep(con: duckdb.DuckDBPyConnection, backfill_id: str | None) -> None:
    """Marks what a kill left as running. The caller holds the lock: nothing else is alive."""
    execute(con, "sweep_runs", ended_at=now())
    execute(con, "sweep_backfills", ended_at=now(), backfill_id=backfill_id)


def close(home: Home, run_id: str, status: str, *, message: str, found: Facts | None = None) -> None:
    """Ends a run in the ledger, with the facts that it went by where it reached its end."""
    with open_warehouse(home.warehouse) as con:
        execute(
            con,
            "end_run",
            run_id=run_id,
            status=status,
            message=message,
            fingerprint=digest(found) if found else None,
            facts=json.dumps(found, sort_keys=True) if found else None,
            ended_at=now(),
        )


def record_timings(home: Home, rows: list[Any]) -> None:
    """Stores the timings of a run's stages."""
    with open_warehouse(home.warehouse) as con:
        for row in rows:
            execute(con, "insert_timing", **asdict(row))


# ── Backfills ───────────────────────────────────────────────────────────────────────────────────


def open_backfill(home: Home, first: str, last: str, reason: str, as_of: AsOf = "then") -> str:
    """Writes a backfill down with its range, reason and author; returns its identity."""
    backfill_id = f"backfill-{new_run_id()}"
    with open_warehouse(home.warehouse) as con, transaction(con):
        _sweep(con, None)
        execute(
            con,
            "start_backfill",
            backfill_id=backfill_id,
            first=first,
            last=last,
            reason=reason,
            as_of=as_of,
            requested_by=user(),
            started_at=now(),
        )
    return backfill_id


def close_backfill(home: Home, backfill_id: str, result: str) -> None:
    """Writes down how a backfill ended."""
    with open_warehouse(home.warehouse) as con:
        execute(con, "end_backfill", backfill_id=backfill_id, result=result, ended_at=now())


def record_month(
    home: Home, backfill_id: str, month: Month, outcome: MonthOutcome, message: str, seconds: float
) -> None:
    """Writes down what became of one month of a backfill."""
    with open_warehouse(home.warehouse) as con:
        execute(
            con,
            "insert_backfill_month",
            backfill_id=backfill_id,
            month=str(month),
            outcome=outcome,
            message=message,
            seconds=seconds,
            ended_at=now(),
        )
