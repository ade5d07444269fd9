"""What each command does, behind its arguments.

Prefect is imported only when there is something to run: a month that is up to date is answered first.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from creditflow.errors import FileMissing, HomeUnusable
from creditflow.month import Month, month_range
from flows.settings import Settings
from tasks.home import Home, locked
from tasks.ledger import AsOf

if TYPE_CHECKING:
    from tasks.plan import Finished

DEMO_FIRST = Month(2026, 1)


# ── Months ──────────────────────────────────────────────────────────────────────────────────────


def run_one(settings: Settings, month: Month, retrain: bool) -> None:
    """Runs one month, or says that there is nothing to do."""
    from flows import show

    finished = None if retrain else _finished(settings, [month], "then").get(month)
    if finished:
        show.print_lines([f"{month}: {finished.said}"])
        return
    _require_file(Home(settings.home), month)
    with show.progress([month]) as say, _prefect(settings):
        from flows.monthly import monthly

        say(f"{month}: {monthly(str(month), retrain).summary}")


def _require_file(home: Home, month: Month) -> None:
    """Refuses a month without a file before Prefect is started, and says who reads outcomes that wait."""
    from expectations.intake import find_file
    from tasks.plan import unread_outcomes

    try:
        find_file(home.inbox, "clients", month)
    except FileMissing as error:
        waiting = unread_outcomes(home)
        if not waiting:
            raise
        remedy = (
            f"{error.remedy} Outcomes of {', '.join(map(str, waiting))} wait: creditflow rebuild reads them."
        )
        raise FileMissing(error.where, expected=error.expected, found=error.found, remedy=remedy) from error


def run_range(
    settings: Settings,
    first: Month,
    last: Month,
    reason: str,
    *,
    as_of: AsOf = "then",
    force: bool = False,
    keep_going: bool = False,
) -> None:
    """Runs the months from `first` to `last` as a recorded backfill; each is said as it ends."""
    from flows import show

    months = list(month_range(first, last))
    finished = {} if force else _finished(settings, months, as_of)
    if len(finished) == len(months):
        show.print_lines([f"{month}: {finished[month].said}" for month in months])
        return
    with _heard([month for month in months if month not in finished]), _prefect(settings):
        from flows import backfill

        done = backfill.backfill(str(first), str(last), reason, as_of, force, keep_going)
    show.print_lines([done.summary])


def plan_range(
    settings: Settings, first: Month, last: Month, *, as_of: AsOf = "then", force: bool = False
) -> None:
    """Shows what a backfill would do; changes nothing."""
    from flows import show
    from flows.options import run_options
    from tasks.plan import plan

    months = list(month_range(first, last))
    show.print_plan(plan(Home(settings.home), months, run_options(settings), force=force, as_of=as_of))


def rebuild(settings: Settings, reason: str) -> list[Month]:
    """Makes good whatever is stale, and takes in outcomes that have come; returns the months it looked at."""
    from flows import show

    stale, unread = _due(settings)
    if not stale and not unread:
        show.print_lines(["nothing is stale"])
        return []
    with _heard(stale), _prefect(settings):
        from flows import backfill

        done = backfill.rebuild(reason)
    if done.outcomes:
        show.print_lines([done.summary])
    return sorted({*stale, *unread, *map(Month.parse, done.outcomes)})


def plan_rebuild(settings: Settings) -> None:
    """Shows what a rebuild would do; changes nothing."""
    from flows import show
    from tasks.plan import Step

    stale, unread = _due(settings)
    show.print_plan([Step(month, "run", reason) for month, reason in stale.items()])
    show.print_lines([f"outcomes of {month} are to be loaded" for month in unread])


def _due(settings: Settings) -> tuple[dict[Month, str], list[Month]]:
    from flows.options import run_options
    from tasks.plan import stale_months, unread_outcomes

    home = Home(settings.home)
    return stale_months(home, run_options(settings)), unread_outcomes(home)


def _prefect(settings: Settings) -> AbstractContextManager[None]:
    # Prefect comes with it.
    from flows.start import prefect_at_hand

    return prefect_at_hand(settings.home)


@contextmanager
def _heard(months: Iterable[Month]) -> Iterator[None]:
    """Shows the progress of the months to run, and each month's line as it ends."""
    from flows import backfill, show

    with show.progress(list(months)) as say:
        backfill.listeners.append(say)
        try:
            yield
        finally:
            backfill.listeners.remove(say)


def _finished(settings: Settings, months: list[Month], as_of: AsOf) -> "dict[Month, Finished]":
    from flows.options import run_options
    from tasks.plan import finished

    home = Home(settings.home).prepare()
    with locked(home, "a look at what is up to date", settings.lock_wait_seconds):
        return finished(home, months, run_options(settings), as_of)


# ── Data in ─────────────────────────────────────────────────────────────────────────────────────


def simulate_demo(settings: Settings, first: Month, months: int, clients: int) -> None:
    """Fills the inbox with the demonstration, unless the home already serves another purpose.

    Raises:
        HomeUnusable: the inbox holds months that are not the demonstration's.
    """
    from expectations.intake import list_files

    home = Home(settings.home).prepare()
    own = set(month_range(first, first.plus(months - 1)))
    foreign = sorted(set(list_files(home.inbox, "clients")) - own)
    if foreign:
        raise HomeUnusable(
            str(home.inbox),
            expected="an empty inbox, or the demonstration's own",
            found=f"client files of {foreign[0]}" + (" and others" if len(foreign) > 1 else ""),
            remedy="Give the demonstration a home of its own: CREDITFLOW_HOME=demo creditflow demo.",
        )
    simulate_inbox(settings, first, months, clients, settings.seed)


def simulate_inbox(
    settings: Settings,
    first: Month,
    months: int,
    clients: int,
    seed: int,
    shock: Month | None = None,
    file_format: str = "csv",
    overwrite: bool = False,
) -> list[Path]:
    """Writes a simulated panel into the inbox."""
    from flows.show import steps
    from models.simulator import SimulationSettings
    from tasks.simulate import write_simulation

    home = Home(settings.home).prepare()
    wanted = SimulationSettings(first=first, months=months, clients=clients, seed=seed, shock=shock)
    with steps("simulating") as step:
        return write_simulation(wanted, home.inbox, format=file_format, overwrite=overwrite, progress=step)


def import_uci(
    settings: Settings, file: Path | None, first: Month, months: int, overwrite: bool
) -> list[str]:
    """Splits the UCI data set into monthly files in the inbox; returns one line a month."""
    from flows.show import steps
    from tasks import uci

    home = Home(settings.home).prepare()
    with steps("importing") as step:
        imported = uci.import_uci(file, home.inbox, first, months, overwrite=overwrite, progress=step)
    return imported.lines()


# ── Study ───────────────────────────────────────────────────────────────────────────────────────


def run_study(settings: Settings, file: Path, out: Path | None) -> list[Path]:
    """Runs the study and names its two files; by default beside the reports, whose overview links it."""
    from flows.show import steps
    from tasks.study import study_file

    with steps("studying") as step:
        return list(study_file(file, out or Home(settings.home).reports, settings.seed, step))
