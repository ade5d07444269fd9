"""Where every month stands, for `creditflow status`."""

import polars as pl

from creditflow.errors import HomeLocked
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
