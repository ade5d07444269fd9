"""Builds the pages of one month anew, on demand: `creditflow report 2005-09`."""

from typing import TYPE_CHECKING

from creditflow.errors import HomeUnusable
from creditflow.month import Month
from flows.options import run_options
from flows.settings import Settings
from tasks.home import Home, locked

if TYPE_CHECKING:
    from tasks.publish import Reported


def rebuild(home: Home, month: Month, settings: Settings, pdf: bool) -> "Reported":
    """The month's pack and the overview, from what is stored.

    Raises:
        HomeUnusable: nothing was ever run in this home.
        CreditflowError: as `tasks.publish.rebuild_pack`.
    """
    if not home.warehouse.is_file():
        raise HomeUnusable(
            str(home.root),
            expected="a home in which a month was run",
            found="no database",
            remedy=f"Run the month first: creditflow run {month}.",
        )
    # Not before: Prefect, which comes with it, would make a folder of its own in a home that is none.
    from tasks.publish import rebuild_pack
    from tasks.reports.beside import opened

    with locked(home, f"the pages of {month}", settings.lock_wait_seconds), opened():
        return rebuild_pack(
            home, month, run_options(settings), settings.memory_limit, pdf=pdf, browser=settings.chromium
        )
