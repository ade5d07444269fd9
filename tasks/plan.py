"""What a range of months has to do, and why: the plan of a backfill, and which months are stale.

A month is stale where the facts that its last run went by (files, champion, settings, code) are not those of
now. Nothing here changes anything, and neither Prefect nor torch is imported.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import duckdb

from creditflow.errors import FileAmbiguous, FileMissing
from creditflow.month import Month
from expectations.intake import find_file
from sql.warehouse import execute, is_current, open_published, open_warehouse
from tasks.derived import Product, due_months
from tasks.home import Home
from tasks.ledger import AsOf, Contents, Facts, contents, digest, facts
from tasks.options import Options

Action = Literal["run", "skip", "perhaps", "missing"]
CODE_CHANGED = "the code changed"
EARLIER_VERSION = "it was run by an earlier version of creditflow"


@dataclass(frozen=True)
class Step:
    """What is to be done about a month, and why.

    `perhaps`: nothing about the month itself has changed, but an earlier month is run before it, which may
    change its champion. `seconds` is what its last run took, or the mean of all; None where none is known.
    `never_done`: no run of it ever reached its end.
    """

    month: Month
    action: Action
    reason: str
    seconds: float | None = None
    never_done: bool = False


@dataclass(frozen=True)
class _Past:
    """How a month was last run to its end, and how its newest start ended."""

    run_id: str | None
    fingerprint: str | None
    facts: Facts | None
    ended_at: datetime | None
    seconds: float | None
    status: str
    message: str | None


@dataclass(frozen=True)
class Finished:
    """The run whose results a month holds, and which are those that a run would give now."""

    run_id: str
    ended_at: datetime

    @property
    def said(self) -> str:
        """That there is nothing to do, in words."""
        return (
            f"nothing to do; files, model and code are those of the run of {self.ended_at:%Y-%m-%d %H:%M} UTC"
        )


# ── Plans ───────────────────────────────────────────────────────────────────────────────────────


def plan(
    home: Home, months: Sequence[Month], options: Options, *, force: bool = False, as_of: AsOf = "then"
) -> list[Step]:
    """One step a month, in order. Only looks: neither home nor database is made or migrated.

    Raises:
        HomeLocked: a run holds the database.
        WarehouseCorrupt: the database is damaged.
    """
    with _look(home) as look:
        steps: list[Step] = []
        for month in months:
            steps.append(_step(home, look, month, options, steps, force, as_of))
        return steps


def stale_months(home: Home, options: Options, *, figures_only: bool = False) -> dict[Month, str]:
    """Months whose results are not those that a run would give now, each with the reason.

    A month that was scored as of now is held against the present of now.

    Args:
        figures_only: pages do not count: a run that looks has yet to write them.

    Raises:
        HomeLocked: a run holds the database.
        WarehouseCorrupt: the database is damaged.
    """
    with _look(home, figures_only) as look:
        whys = {m: _why(home, look, m, options, as_of) for m, as_of in _views(look).items()}
        return {month: why for month, why in whys.items() if why}


def finished(
    home: Home, months: Sequence[Month], options: Options, as_of: AsOf = "then"
) -> dict[Month, Finished]:
    """The months among these that need no run; errors as in `plan`."""
    with _look(home) as look:
        current = [month for month in months if _why(home, look, month, options, as_of) is None]
        pasts = {month: look.past[month] for month in current}
        return {m: Finished(p.run_id, p.ended_at) for m, p in pasts.items() if p.run_id and p.ended_at}


def views(home: Home) -> dict[Month, AsOf]:
    """Every loaded month, in order, and whether it was last scored as of then or as of now."""
    with _look(home) as look:
        return _views(look)


def unread_outcomes(home: Home) -> list[Month]:
    """Months with clients whose newest outcomes in the inbox are not the loaded ones."""
    with _look(home) as look:
        return look.found.unread_outcomes()


# ── The look ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Look:
    """A home's database and inbox, looked at once; `con` is None without a database of this version."""

    con: duckdb.DuckDBPyConnection | None
    found: Contents
    past: Mapping[Month, _Past]
    published: frozenset[str]
    due: Mapping[Month, str]


@contextmanager
def _look(home: Home, figures_only: bool = False) -> Iterator[_Look]:
    nothing = Contents({"clients": {}, "outcomes": {}}, {"clients": {}, "outcomes": {}})
    if not home.warehouse.is_file():
        yield _Look(None, nothing, {}, frozenset(), {})
        return
    with open_warehouse(home.warehouse, read_only=True) as con:
        if not is_current(con):
            yield _Look(None, contents(con, home), _past_months_before(con), frozenset(), {})
            return
        past = {Month.parse(row[0]): _past(*row[1:]) for row in execute(con, "last_finished_runs")}
        due = _due(con, max(past), figures_only) if past else {}
        yield _Look(con, contents(con, home), past, _published_runs(home), due)


def _past(
    run_id: str | None,
    fingerprint: str | None,
    told: str | None,
    ended_at: datetime | None,
    seconds: float | None,
    status: str,
    message: str | None,
) -> _Past:
    return _Past(run_id, fingerprint, json.loads(told) if told else None, ended_at, seconds, status, message)


def _past_months_before(con: duckdb.DuckDBPyConnection) -> dict[Month, _Past]:
    """Months that a database of an earlier version knows: all of them are run again."""
    rows = con.execute(
        "SELECT month, max(ended_at) FROM runs WHERE status = 'done' GROUP BY month"
    ).fetchall()
    return {Month.parse(month): _Past(None, None, None, ended, None, "done", None) for month, ended in rows}


def _due(con: duckdb.DuckDBPyConnection, last: Month, figures_only: bool) -> dict[Month, str]:
    """Months whose figures, or pages, are older than what they are made from."""
    due: dict[Month, str] = {}
    figures: tuple[Product, ...] = ("drift", "estimates", "performance")
    for product in figures if figures_only else (*figures, "report"):
        due |= dict.fromkeys(due_months(con, last, product), f"{product} behind what the month now holds")
    return due


def _published_runs(home: Home) -> frozenset[str]:
    """Runs that readers see; none where nothing readable is published, which the next run mends."""
    if not home.published.is_file():
        return frozenset()
    try:
        with open_published(home.published) as con:
            return frozenset(row[0] for row in con.execute("SELECT run_id FROM runs").fetchall())
    except Exception:
        return frozenset()


def _views(look: _Look) -> dict[Month, AsOf]:
    return {month: _view(look.past.get(month)) for month in sorted(look.found.loaded["clients"])}


def _view(past: _Past | None) -> AsOf:
    return "now" if past and past.facts and past.facts["as_of"] == "now" else "then"


# ── One month ───────────────────────────────────────────────────────────────────────────────────


def _step(
    home: Home,
    look: _Look,
    month: Month,
    options: Options,
    before: Sequence[Step],
    force: bool,
    as_of: AsOf,
) -> Step:
    seconds, past = _seconds(look, month), look.past.get(month)
    never_done = past is None or past.ended_at is None
    why = "asked for (--force)" if force else _why(home, look, month, options, as_of)
    missing = _missing(home, month)
    # A file that was taken away after it was loaded is missed only where the month has to be run.
    if missing and (why or never_done):
        return Step(month, "missing", missing, None, never_done)
    if why:
        return Step(month, "run", why, seconds, never_done)
    if as_of == "then" and any(step.action in ("run", "perhaps") for step in before):
        return Step(month, "perhaps", "unchanged so far; an earlier month may change its champion", seconds)
    ended_at = look.past[month].ended_at
    return Step(month, "skip", f"unchanged since the run of {ended_at:%Y-%m-%d %H:%M} UTC")


def _missing(home: Home, month: Month) -> str | None:
    try:
        find_file(home.inbox, "clients", month)
    except (FileMissing, FileAmbiguous) as error:
        return f"{error.expected} expected, {error.found} found"
    return None


def _seconds(look: _Look, month: Month) -> float | None:
    own = look.past.get(month)
    if own and own.seconds is not None:
        return own.seconds
    known = [past.seconds for past in look.past.values() if past.seconds is not None]
    return sum(known) / len(known) if known else None


def _why(home: Home, look: _Look, month: Month, options: Options, as_of: AsOf) -> str | None:
    """Why the month is to be run, or None where its results are those of now."""
    past = look.past.get(month)
    if past is None:
        return "it was never run"
    if look.con is None:
        return EARLIER_VERSION
    if past.run_id is None:
        return f"its last run was {past.status}" + (f": {past.message}" if past.message else "")
    if past.facts is None:
        return EARLIER_VERSION
    present = facts(look.con, month, options, look.found, as_of)
    if digest(present) != past.fingerprint:
        return "; ".join(differences(past.facts, present))
    if past.run_id not in look.published or not home.month_page(month).is_file():
        return "its last run was not published"
    return look.due.get(month)


def differences(before: Facts, now: Facts) -> list[str]:
    """What of a month's facts has changed, in words; at least one where they differ."""
    said = [*_as_of(before, now), *_files(before, now), *_champions(before, now)]
    changed = [name for name in now["options"] if before["options"].get(name) != now["options"][name]]
    if changed:
        said.append(f"settings changed: {', '.join(changed)}")
    if before["code"] != now["code"]:
        said.append(CODE_CHANGED)
    return said or ["what it went by has changed"]


def _as_of(before: Facts, now: Facts) -> list[str]:
    if before["as_of"] == now["as_of"]:
        return []
    return [f"it was scored as of {before['as_of']}, not as of {now['as_of']}"]


def _files(before: Facts, now: Facts) -> Iterator[str]:
    if before["clients"] != now["clients"]:
        yield "its client file has other content"
    if before["as_of"] == now["as_of"]:
        yield from _months_of("clients", before["earlier_clients"], now["earlier_clients"])
        yield from _months_of("outcomes", before["outcomes"], now["outcomes"])
    if now["unread_outcomes"]:
        yield f"outcomes of {_named(now['unread_outcomes'])} wait to be loaded"


def _months_of(what: str, before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    came = sorted(now.keys() - before.keys())
    revised = sorted(month for month in now.keys() & before.keys() if now[month] != before[month])
    gone = sorted(before.keys() - now.keys())
    for months, verb in ((came, "arrived"), (revised, "were revised"), (gone, "no longer count")):
        if months:
            yield f"{what} of {_named(months)} {verb}"


def _named(months: Sequence[str]) -> str:
    return ", ".join(months) if len(months) <= 3 else f"{months[0]} to {months[-1]} ({len(months)} months)"


def _champions(before: Facts, now: Facts) -> Iterator[str]:
    words = {
        "champion": "the champion was {}, is {}",
        "chosen": "a person's choice was {}, is {}",
    }
    for name, text in words.items():
        if before[name] != now[name]:
            yield text.format(", ".join(before[name]) or "none", ", ".join(now[name]) or "none")
