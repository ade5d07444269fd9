"""Writes a simulated portfolio into the inbox: `clients_YYYY-MM.*` and `outcomes_YYYY-MM.*`.

The files are spelled like the study's sheet (ID, LIMIT_BAL … PAY_0, PAY_2 …) and carry no label: a month's
outcomes are a file of their own, as they become known a month later.
"""

from pathlib import Path

import polars as pl

from creditflow.columns import AMOUNT_NAMES
from creditflow.errors import UsageError
from creditflow.month import Month
from models.simulator import SimulatedMonth, SimulationSettings, simulate
from tasks.inbox import STUDY_HEADER, Delivery, Format, Progress, delivery, writer


def write_simulation(
    settings: SimulationSettings,
    inbox: Path,
    *,
    format: Format | str = "csv",
    outcomes_until: Month | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Simulates and delivers all months, or nothing; files with the same content are left as they are.

    Args:
        format: csv, csv.gz, parquet or xlsx.
        outcomes_until: the last month whose outcomes are written; None: the last but one, as the outcomes of
            the last month are not known yet.
        overwrite: replace files of the same name that differ.
        progress: called with (month, months done, months in all).

    Returns:
        The files, month by month, client file first.

    Raises:
        UsageError: an unknown format, or a file with other content is there and `overwrite` is False.
        FileAmbiguous: a month has a file in another format already.
        HomeUnusable: the inbox cannot be written to.
    """
    until = _known_until(settings, outcomes_until)
    with delivery(inbox, overwrite=overwrite) as files:
        for done, month in enumerate(simulate(settings), start=1):
            _deliver(files, month, str(format), with_outcomes=month.month <= until)
            if progress:
                progress(str(month.month), done, settings.months)
    return list(files.states)


def _known_until(settings: SimulationSettings, wanted: Month | None) -> Month:
    last = settings.first.plus(settings.months - 1)
    if wanted is not None and wanted > last:
        raise UsageError(
            "outcomes_until",
            expected=f"a simulated month, {settings.first} to {last}",
            found=str(wanted),
            remedy="Simulate more months, or ask for fewer outcomes.",
        )
    return wanted or last.plus(-1)


def _deliver(files: Delivery, month: SimulatedMonth, suffix: str, *, with_outcomes: bool) -> None:
    clients = month.clients if suffix == "parquet" else _whole(month.clients)
    files.add("clients", month.month, suffix, writer(clients.rename(STUDY_HEADER, strict=False), suffix))
    if with_outcomes:
        outcomes = month.outcomes.rename(STUDY_HEADER, strict=False)
        files.add("outcomes", month.month, suffix, writer(outcomes, suffix))


def _whole(clients: pl.DataFrame) -> pl.DataFrame:
    # Simulated amounts are whole: in text they need no decimals, and the file is a third smaller.
    return clients.with_columns(pl.col(AMOUNT_NAMES).cast(pl.Int64))
