"""Where every month stands, for `creditflow status`."""

import polars as pl

from creditflow.errors import HomeLocked
from creditflow.month import Month
from expectations.intake import list_files, misnamed_files
from sql.warehouse import frame, open_published, open_warehouse
from tasks.home import Home


def month_table(home: Home) -> pl.DataFrame:
    """One row a month; from the readers' database while a run holds the writer's one."""
    if not home.warehouse.is_file():
        return pl.DataFrame()
    try:
        with open_warehouse(home.warehouse) as con:
            return frame(con, "status_by_month")
    except HomeLocked:
        with open_published(home.published) as con:
            return frame(con, "status_by_month")


def waiting_files(home: Home, months: pl.DataFrame) -> list[str]:
    """What lies in the inbox and was not read yet, and which run will read it, if any; one line a file."""
    scored, realised = _months_with(months, "received"), _months_with(months, "outcomes")
    clients = [m for m in list_files(home.inbox, "clients") if m not in scored]
    outcomes = [m for m in list_files(home.inbox, "outcomes") if m not in realised]
    return [
        *(f"clients of {m} are in the inbox: creditflow run {m}" for m in clients),
        *(
            f"outcomes of {m} are in the inbox: the run of {m.plus(1)} or a later one reads them"
            for m in outcomes
        ),
        *(
            f"{path.name} is in the inbox and is never read: name it clients_YYYY-MM or outcomes_YYYY-MM"
            for path in misnamed_files(home.inbox)
        ),
    ]


def _months_with(months: pl.DataFrame, column: str) -> set[Month]:
    if months.is_empty():
        return set()
    return {Month.parse(text) for text in months.filter(pl.col(column).is_not_null())["month"]}
