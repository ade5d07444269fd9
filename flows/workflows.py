"""What each command does, behind its arguments.

Prefect is imported only when there is something to run: a month that is up to date is answered first.
"""

from pathlib import Path

from creditflow.errors import HomeUnusable
from creditflow.month import Month, month_range
from flows.settings import Settings
from tasks import ledger
from tasks.home import Home, locked

DEMO_FIRST = Month(2026, 1)


# ── Months ──────────────────────────────────────────────────────────────────────────────────────


def run_one(settings: Settings, month: Month, retrain: bool) -> None:
    """Runs one month, or says that there is nothing to do."""
    from flows import show

    finished = None if retrain else _up_to_date(settings, [month]).get(month)
    if finished:
        show.print_lines([_nothing_to_do(month, finished)])
        return
    from flows.monthly import monthly

    with show.progress([month]) as say:
        say(f"{month}: {monthly(str(month), retrain).summary}")


def run_range(settings: Settings, first: Month, last: Month, reason: str) -> None:
    """Runs the months from `first` to `last` as a recorded backfill; each is said as it ends."""
    from flows import show

    months = list(month_range(first, last))
    finished = _up_to_date(settings, [m for m in months if _has_file(settings, m)])
    if len(finished) == len(months):
        show.print_lines([_nothing_to_do(month, finished[month]) for month in months])
        return
    from flows import backfill

    with show.progress([month for month in months if month not in finished]) as say:
        backfill.listeners.append(say)
        try:
            backfill.backfill(str(first), str(last), reason)
        finally:
            backfill.listeners.remove(say)


def _has_file(settings: Settings, month: Month) -> bool:
    from expectations.intake import list_files

    return month in list_files(Home(settings.home).prepare().inbox, "clients")


def _up_to_date(settings: Settings, months: list[Month]) -> dict[Month, ledger.Finished]:
    from flows.options import run_options

    home, options = Home(settings.home).prepare(), run_options(settings)
    with locked(home, "a look at what is up to date", settings.lock_wait_seconds):
        looked = {m: ledger.up_to_date(home, m, ledger.fingerprint(home, m, options)) for m in months}
    return {month: finished for month, finished in looked.items() if finished}


def _nothing_to_do(month: Month, finished: ledger.Finished) -> str:
    return (
        f"{month}: nothing to do; files, model and code are those of the run "
        f"of {finished.ended_at:%Y-%m-%d %H:%M} UTC"
    )


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
