"""The typed table of a file on disk, and what has to be known of all its rows before rules can run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from creditflow.columns import CLIENT_ID, OUTCOME, ROW_NUMBER
from creditflow.errors import FileUnreadable
from expectations.cells import BLANK, MISSING_LABEL, ROW_HASH, typed
from expectations.month_fit import Facts
from expectations.reader import RawTable, inexact_ids, parsing
from expectations.workbook import EXACT_FLOAT

CHUNK_ROWS = 500_000


@dataclass(frozen=True)
class Table:
    """The typed rows on disk, what is known of their IDs, and whether the file has labels."""

    rows: pl.LazyFrame
    received: int
    marks: pl.DataFrame
    label: Literal["none", "empty", "present"]


def stage_table(path: Path, raw: RawTable, stage: Path) -> tuple[Table, Facts]:
    target = stage / "typed.parquet"
    with parsing(path, "a file", into=stage):
        typed(raw).sink_parquet(target, row_group_size=CHUNK_ROWS, compression="lz4")
    rows = pl.scan_parquet(target, glob=False, hive_partitioning=False)
    total, blank = rows.select(pl.len(), pl.col(BLANK).sum()).collect().row(0)
    if total != raw.rows:
        raise FileUnreadable(
            path.name,
            expected=f"{raw.rows:,} rows, as many as the file has lines of data",
            found=f"{total:,}",
            remedy="Check the quotes and line ends, and send the file again.",
        )
    if blank:
        with parsing(path, "a file", into=stage):
            rows.filter(~pl.col(BLANK)).sink_parquet(stage / "filled.parquet", row_group_size=CHUNK_ROWS)
        rows = pl.scan_parquet(stage / "filled.parquet", glob=False, hive_partitioning=False)
    rows = rows.with_columns(_regular_ids(path, raw, rows))
    facts = Facts()
    facts.add("rows", total - blank, f"{total - blank:,} rows of data below the header")
    facts.add("blank_rows", blank, f"{blank:,} rows without a value")
    facts.add("other_sheets", raw.other_sheets, f"{raw.other_sheets} further sheets")
    return Table(rows, total - blank, _marks(rows), _label(raw, rows, total - blank)), facts


def _regular_ids(path: Path, raw: RawTable, rows: pl.LazyFrame) -> pl.Expr:
    """IDs to the letter, but without `.0` where every ID of the file went through a float column."""
    ids = pl.col(CLIENT_ID)
    floats = rows.select(ids.str.contains(r"^-?\d+\.0+$").all().alias("floats"), ids.count()).collect().row(0)
    if not (floats[0] and floats[1]):
        return ids
    whole = ids.str.replace(r"\.0+$", "")
    large = whole.cast(pl.Float64, strict=False).abs() >= EXACT_FLOAT
    lost = rows.select(ids.filter(large).first()).collect().item()
    if lost is not None:
        raise inexact_ids(path, raw.header, lost)
    return whole


def _marks(rows: pl.LazyFrame) -> pl.DataFrame:
    """(row_number, id_copies, identical_rows) of the rows that share an ID or all values with another."""
    seen = rows.select(ROW_NUMBER, CLIENT_ID, ROW_HASH).collect(engine="streaming")
    copies = seen.lazy().drop_nulls(CLIENT_ID).group_by(CLIENT_ID).agg(pl.len().alias("id_copies"))
    repeated = seen.lazy().join(copies.filter(pl.col("id_copies") > 1), on=CLIENT_ID)
    twins = seen.lazy().filter(~pl.col(ROW_HASH).is_first_distinct())
    marked = twins.select(ROW_NUMBER, pl.lit(1, pl.Int8).alias("identical_rows")).join(
        repeated.select(ROW_NUMBER, pl.col("id_copies").cast(pl.Int64)),
        on=ROW_NUMBER,
        how="full",
        coalesce=True,
    )
    return marked.collect(engine="streaming")


def _label(raw: RawTable, rows: pl.LazyFrame, received: int) -> Literal["none", "empty", "present"]:
    if OUTCOME not in raw.header.names:
        return "none"
    missing = rows.select(pl.col(MISSING_LABEL).sum()).collect().item()
    return "empty" if missing == received else "present"
