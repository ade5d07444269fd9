"""The rows that are set aside: which cell broke which rule, and the row as it stood in the file."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from creditflow.columns import AMOUNT_NAMES, CLIENT_ID, OUTCOME, ROW_NUMBER
from expectations.cells import (
    EXTRA_FIELDS,
    MISSING_LABEL,
    SCIENTIFIC_ID,
    STATES,
    extra_cells,
    numeric_names,
    state,
)
from expectations.reader import RawTable
from expectations.suite import Rule

SCHEMA: dict[str, type[pl.DataType]] = {
    ROW_NUMBER: pl.Int64,
    CLIENT_ID: pl.String,
    "rule": pl.String,
    "column_name": pl.String,
    "value": pl.String,
    "violations": pl.String,
    "raw_row": pl.String,
}
ID_HELPERS = ("id_copies", "known_client", SCIENTIFIC_ID)
# The column of the last rule of all, which looks at every cell (checking.py).
ALL_COLUMNS = "all columns"
_BATCH = 50_000


def quarantine_rows(raw: RawTable, broken: pl.DataFrame, rules: dict[int, Rule]) -> Iterator[pl.DataFrame]:
    """Quarantine records (SCHEMA), in the order of the file.

    Args:
        broken: (row_number, position), one row per broken rule.
        rules: position → rule.
    """
    grouped = broken.group_by(ROW_NUMBER).agg(pl.col("position").sort()).sort(ROW_NUMBER)
    for batch in grouped.iter_slices(_BATCH):
        yield pl.DataFrame(list(_records(raw, batch, rules)), schema=SCHEMA, orient="row")


def write_quarantine(frames: Iterable[pl.DataFrame], target: Path) -> int:
    """Write the records to one Parquet file; gives their number."""
    import pyarrow.parquet as pq

    empty = pl.DataFrame(schema=SCHEMA).to_arrow()
    rows = 0
    with pq.ParquetWriter(target, empty.schema, compression="zstd") as writer:
        for frame in frames:
            writer.write_table(frame.to_arrow())
            rows += frame.height
    return rows


def broken_cells(
    raw: RawTable, broken: pl.DataFrame, rules: dict[int, Rule]
) -> dict[tuple[int, int], list[dict[str, str | None]]]:
    """(row number, position) → violations {"rule", "column", "value"}; for a handful of rows."""
    grouped = broken.group_by(ROW_NUMBER).agg(pl.col("position"))
    names = numeric_names(raw)
    return {
        (row[ROW_NUMBER], position): list(_violations(rules[position], row, names))
        for row in _rows(raw, grouped, names)
        for position in row["position"]
    }


def _rows(raw: RawTable, batch: pl.DataFrame, names: list[str]) -> Iterator[dict[str, Any]]:
    """The rows of a batch as the file has them, each cell with its state, in the order of the file."""
    wanted = raw.frame.join(batch.lazy(), on=ROW_NUMBER, how="inner")
    rows = wanted.with_columns(state(n).alias(f"state:{n}") for n in names).collect(engine="streaming")
    return rows.sort(ROW_NUMBER).iter_rows(named=True)


def _records(raw: RawTable, batch: pl.DataFrame, rules: dict[int, Rule]) -> Iterator[tuple[Any, ...]]:
    names = numeric_names(raw)
    for row in _rows(raw, batch, names):
        found = [v for p in row["position"] for v in _violations(rules[p], row, names)]
        first = found[0]
        yield (
            row[ROW_NUMBER],
            row[CLIENT_ID],
            first["rule"],
            first["column"],
            first["value"],
            json.dumps(found, ensure_ascii=False),
            json.dumps(_as_received(raw, row), ensure_ascii=False),
        )


def _violations(rule: Rule, row: dict[str, Any], names: list[str]) -> Iterator[dict[str, str | None]]:
    for column, value in _culprits(rule.column, row, names):
        yield {"rule": rule.rule, "column": column, "value": value}


def _culprits(column: str, row: dict[str, Any], names: list[str]) -> list[tuple[str | None, str | None]]:
    """The cells that a rule on `column` speaks of: a helper column stands for others."""
    if column == ALL_COLUMNS:
        return [(n, row[n]) for n in names if not _fits(n, row)] or [(CLIENT_ID, row[CLIENT_ID])]
    if column in STATES:
        bad = [n for n in names if row[f"state:{n}"] == STATES[column]]
        # A missing label is the matter of MISSING_LABEL in a client file.
        own = [n for n in bad if not (column == "missing_cells" and n == OUTCOME and len(names) > 1)]
        return [(n, row[n]) for n in own]
    if column == EXTRA_FIELDS:
        return [(None, " | ".join(extra_cells(row)))]
    if column == MISSING_LABEL:
        return [(OUTCOME, row[OUTCOME])]
    name = CLIENT_ID if column in ID_HELPERS else column
    return [(name, row.get(name))]


def _as_received(raw: RawTable, row: dict[str, Any]) -> dict[str, str | None]:
    cells = {spelt: row[name] for spelt, name in raw.header.columns}
    return cells | {f"(field {len(cells) + n})": v for n, v in enumerate(extra_cells(row), start=1)}


def _fits(name: str, row: dict[str, Any]) -> bool:
    if row[f"state:{name}"] != 0:
        return False
    return name in AMOUNT_NAMES or abs(float(row[name])) <= (127 if name == OUTCOME else 32767)
