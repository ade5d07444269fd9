"""The typed table of a file on disk, and what has to be known of all its rows before rules can run."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import polars as pl

from creditflow.columns import CLIENT_ID, OUTCOME, ROW_NUMBER
from creditflow.errors import FileUnreadable
from expectations.cells import BLANK, MISSING_LABEL, ROW_HASH, numeric_names, odd_cells, typed, typed_numbers
from expectations.hashing import hashes, repeated_hashes
from expectations.month_fit import Facts
from expectations.reader import RawTable, inexact_ids, parsing
from expectations.workbook import EXACT_FLOAT

CHUNK_ROWS = 500_000
GROUP_ROWS = 125_000
# Above so many odd rows, and above one in so many, the whole file goes the exact way.
LEAST_ODD, ODD_PART = 1_000, 50
_PATCH = "patch:"


@dataclass(frozen=True)
class Table:
    """The typed rows on disk, what is known of their IDs, and whether the file has labels.

    `again` numbers the rows (Int64) whose ID stands in an earlier row.
    """

    rows: pl.LazyFrame
    received: int
    marks: pl.DataFrame
    again: pl.Series
    label: Literal["none", "empty", "present"]


def stage_table(path: Path, raw: RawTable, stage: Path) -> tuple[Table, Facts]:
    """The typed table on disk, by the straight way where the file lends itself to it, else by the exact one.

    Both give the same table.
    """
    rows, blank = typed_rows(path, raw, stage)
    received = raw.rows - blank
    rows = rows.with_columns(_regular_ids(path, raw, rows))
    facts = Facts()
    facts.add("rows", received, f"{received:,} rows of data below the header")
    facts.add("blank_rows", blank, f"{blank:,} rows without a value")
    facts.add("other_sheets", raw.other_sheets, f"{raw.other_sheets} further sheets")
    # Of rows with one value, as those of outcomes, nearly all are like another.
    several = len(numeric_names(raw)) > 1
    return Table(rows, received, *_marks(rows, several), _label(raw, rows, received)), facts


def typed_rows(path: Path, raw: RawTable, stage: Path) -> tuple[pl.LazyFrame, int]:
    """The rows of the typed table, without blank ones, and the number of those.

    Raises:
        FileUnreadable: the file cannot be read to its end.
        HomeUnusable: `stage` cannot be written to.
    """
    return _straight(raw, stage) or _exact(path, raw, stage)


def _straight(raw: RawTable, stage: Path) -> tuple[pl.LazyFrame, int] | None:
    """The table from `RawTable.numbers`, with text looked at for those rows only where a number is odd.

    None where the numbers cannot be had that way, or would have to be looked at in many rows.
    """
    if raw.numbers is None:
        return None
    target = stage / "numbers.parquet"
    try:
        raw.numbers.sink_parquet(target, row_group_size=GROUP_ROWS, compression="lz4", statistics=False)
        numbers = pl.scan_parquet(
            target, glob=False, hive_partitioning=False, row_index_name=ROW_NUMBER, row_index_offset=1
        ).with_columns(pl.col(ROW_NUMBER).cast(pl.Int64))
        odd = numbers.select(ROW_NUMBER, odd_cells(raw).alias("odd")).filter("odd").select(ROW_NUMBER)
        seen = odd.collect(engine="streaming")
        total = numbers.select(pl.len()).collect().item()
    except (pl.exceptions.PolarsError, OSError):
        target.unlink(missing_ok=True)
        return None  # Whatever it was, the exact way meets it again and says so by name.
    if total != raw.rows or seen.height > max(LEAST_ODD, total // ODD_PART):
        target.unlink()
        return None
    rows = typed_numbers(numbers, raw)
    if not seen.height:
        return rows, 0
    wanted = replace(raw, frame=raw.frame.join(seen.lazy(), on=ROW_NUMBER, how="semi"))
    patches = typed(wanted).collect(engine="streaming")
    return None if patches[BLANK].any() else (_patched(rows, patches), 0)


def _patched(rows: pl.LazyFrame, patches: pl.DataFrame) -> pl.LazyFrame:
    """The rows, with those of `patches` in their place."""
    names = [name for name in patches.columns if name != ROW_NUMBER]
    joined = rows.join(
        patches.lazy().select(ROW_NUMBER, pl.lit(True).alias(_PATCH), pl.col(names).name.prefix(_PATCH)),
        on=ROW_NUMBER,
        how="left",
        maintain_order="left",
    )
    chosen = (pl.when(_PATCH).then(f"{_PATCH}{n}").otherwise(n).alias(n) for n in names)
    return joined.select(ROW_NUMBER, *chosen)


def _exact(path: Path, raw: RawTable, stage: Path) -> tuple[pl.LazyFrame, int]:
    target = stage / "typed.parquet"
    with parsing(path, "a file", into=stage):
        typed(raw).sink_parquet(target, row_group_size=GROUP_ROWS, compression="lz4")
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
            rows.filter(~pl.col(BLANK)).sink_parquet(stage / "filled.parquet", row_group_size=GROUP_ROWS)
        rows = pl.scan_parquet(stage / "filled.parquet", glob=False, hive_partitioning=False)
    return rows, blank


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


def _marks(rows: pl.LazyFrame, twins: bool) -> tuple[pl.DataFrame, pl.Series]:
    """(row_number, id_copies) of the rows that share an ID with another; with `twins` identical_rows too, and
    the rows that share all values with an earlier one.

    And the numbers of the rows that repeat an ID. IDs are told apart by a hash of 64 bits first, and
    letter by letter where two hashes are the same.
    """
    named = _alike(rows, CLIENT_ID, pl.col(CLIENT_ID).hash()).drop_nulls(CLIENT_ID)
    counted = named.with_columns(pl.len().over(CLIENT_ID).cast(pl.Int64).alias("id_copies"))
    copies = counted.filter(pl.col("id_copies") > 1)
    again = copies.filter(~pl.col(CLIENT_ID).is_first_distinct())[ROW_NUMBER]
    marks = copies.select(ROW_NUMBER, "id_copies")
    return (_with_twins(rows, marks) if twins else marks), again


def _with_twins(rows: pl.LazyFrame, marks: pl.DataFrame) -> pl.DataFrame:
    later = _alike(rows, ROW_HASH, pl.col(ROW_HASH)).filter(~pl.col(ROW_HASH).is_first_distinct())
    identical = later.select(ROW_NUMBER, pl.lit(1, pl.Int8).alias("identical_rows"))
    return identical.join(marks, on=ROW_NUMBER, how="full", coalesce=True)


def _alike(rows: pl.LazyFrame, column: str, value: pl.Expr) -> pl.DataFrame:
    """(row_number, column) of the rows that share the hash `value` with another, in the order of the file."""
    suspects = repeated_hashes(hashes(rows, value))
    if not suspects.len():
        return pl.DataFrame(schema=rows.select(ROW_NUMBER, column).collect_schema())
    alike = rows.select(ROW_NUMBER, column).filter(value.is_in(suspects.implode()))
    return alike.collect(engine="streaming").sort(ROW_NUMBER)


def _label(raw: RawTable, rows: pl.LazyFrame, received: int) -> Literal["none", "empty", "present"]:
    if OUTCOME not in raw.header.names:
        return "none"
    missing = rows.select(pl.col(MISSING_LABEL).sum()).collect().item()
    return "empty" if missing == received else "present"
