"""The backfill flow: several months in order, each as its monthly run would have gone at that time.

By hand: `creditflow backfill 2005-04 2005-09 --reason "first load"`.
"""

from collections.abc import Callable

from prefect import flow

from creditflow.month import Month, month_range
from flows.monthly import monthly
from flows.options import run_options
from flows.settings import load_settings
from tasks import ledger
from tasks.home import Home, locked
from tasks.options import Options

# Told each month's line as soon as it is done: a range may take an hour, and its end may be an error.
listeners: list[Callable[[str], None]] = []


@flow(name="backfill", flow_run_name="backfill-{first}-{last}", validate_parameters=False)
def backfill(first: str, last: str, reason: str) -> list[str]:
    """Runs the months from `first` to `last`; months that are up to date are skipped and named.

    Returns:
        One line a month.

    Raises:
        CreditflowError: of the first month that could not be run; later months are not begun.
    """
    settings = load_settings()
    home = Home(settings.home)
    months = list(month_range(Month.parse(first), Month.parse(last)))
    with locked(home, f"the backfill of {first} to {last}", settings.lock_wait_seconds):
        backfill_id = ledger.open_backfill(home, first, last, reason, ledger.user())
        lines: list[str] = []
        try:
            for month in months:
                lines.append(_one(home, month, run_options(settings), backfill_id))
                for listener in listeners:
                    listener(lines[-1])
        except BaseException as error:
            result = f"stopped at {months[len(lines)]} after {len(lines)} of {len(months)} months: {error}"
            ledger.close_backfill(home, backfill_id, result)
            raise
        ledger.close_backfill(home, backfill_id, f"{len(lines)} months done")
    return lines


def _one(home: Home, month: Month, options: Options, backfill_id: str) -> str:
    if ledger.up_to_date(home, month, ledger.fingerprint(home, month, options)):
        return f"{month}: nothing to do; file, model and code are unchanged"
    return f"{month}: {monthly(str(month), backfill_id=backfill_id).summary}"
