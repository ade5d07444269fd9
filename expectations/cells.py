"""From text cells to typed columns, with every cell that cannot be read counted and not lost.

The typed table holds, per row: the row number, the client ID as text, each numeric column as Float64
(null where the cell holds no usable number), and the helper columns that the suites refer to
(`HELPERS`). README.md of this folder describes them for the people who edit the suites.
"""

import polars as pl

from creditflow.columns import AMOUNT_NAMES, CLIENT_ID, OUTCOME, ROW_NUMBER
from expectations.headers import STATEMENT_MONTH, missing_values
from expectations.reader import EXTRA, RawTable

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
MISSING_LABEL = "missing_label"
EXTRA_FIELDS = "extra_fields"
SCIENTIFIC_ID = "scientific_id"
ROW_HASH = "row_hash"
BLANK = "blank"

# The state of a cell, in the order in which it is looked for; 0 is a number that can be used.
STATES: dict[str, int] = {
    "missing_cells": 1,
    "text_cells": 2,
    "nan_cells": 3,
    "infinite_cells": 4,
    "beyond_int32_cells": 5,
    "fraction_cells": 6,
}
_BILLS = [name for name in AMOUNT_NAMES if name.startswith("bill_")]


def numeric_names(raw: RawTable) -> list[str]:
    """The columns of the file that hold numbers: the attributes, and the outcome where there is one."""
    return [name for name in raw.header.names if name not in (CLIENT_ID, STATEMENT_MONTH)]


def state(name: str) -> pl.Expr:
    """The state of a text cell (UInt8, see STATES)."""
    text = pl.col(name).str.strip_chars()
    number = text.cast(pl.Float64, strict=False)
    beyond = (number > INT32_MAX) | (number < INT32_MIN)
    chain = (
        pl.when(text.is_null() | text.is_in(missing_values()))
        .then(1)
        .when(number.is_null())
        .then(2)
        .when(number.is_nan())
        .then(3)
        .when(number.is_infinite())
        .then(4)
        .when(beyond)
        .then(5)
    )
    if name not in AMOUNT_NAMES:
        chain = chain.when(number != number.round()).then(6)
    return chain.otherwise(0).cast(pl.UInt8)


def typed(raw: RawTable) -> pl.LazyFrame:
    """The typed table of a file, lazily; `blank` marks rows without a single value."""
    names = numeric_names(raw)
    schema = typed_schema(raw)
    return raw.frame.map_batches(
        lambda batch: _typed_batch(batch, names, raw.extras), streamable=True, schema=schema
    )


def typed_schema(raw: RawTable) -> pl.Schema:
    """Columns of the typed table and their types."""
    empty = pl.DataFrame(schema=raw.frame.collect_schema())
    return _typed_batch(empty, numeric_names(raw), raw.extras).schema


def typed_numbers(numbers: pl.LazyFrame, raw: RawTable) -> pl.LazyFrame:
    """The typed table of rows whose every cell is a number that can be used, from `RawTable.numbers`."""
    names, schema = numeric_names(raw), typed_schema(raw)
    wide = numbers.with_columns(pl.col(names).cast(pl.Float64))
    zeros = [pl.lit(0, schema[n]).alias(n) for n in (EXTRA_FIELDS, MISSING_LABEL, *STATES) if n in schema]
    helpers = [_scientific_id(), *([_bill_to_limit()] if "bill_to_limit" in schema else [])]
    return wide.with_columns(
        *zeros, *helpers, pl.lit(False).alias(BLANK), pl.struct(names).hash(seed=0).alias(ROW_HASH)
    ).select(schema.names())


def odd_cells(raw: RawTable) -> pl.Expr:
    """Of a row of `RawTable.numbers`: whether it holds a cell that has to be looked at as text."""
    codes = [n for n in numeric_names(raw) if n not in AMOUNT_NAMES]
    usable = [pl.col(n).is_between(INT32_MIN, INT32_MAX).fill_null(False) for n in numeric_names(raw)]
    whole = [(pl.col(n) == pl.col(n).round()).fill_null(False) for n in codes]
    named = (pl.col(CLIENT_ID).str.strip_chars() != "").fill_null(False)
    return ~pl.all_horizontal(*usable, *whole, named)


def _typed_batch(batch: pl.DataFrame, names: list[str], extras: tuple[str, ...]) -> pl.DataFrame:
    read = {name: _read_column(batch, name) for name in names}
    states = {name: state_of for name, (_, state_of) in read.items() if state_of is not None}
    month = [STATEMENT_MONTH] if STATEMENT_MONTH in batch.columns else []
    table = batch.select(ROW_NUMBER, _client_id(), *month, _extra_fields(extras)).with_columns(
        *(number for number, _ in read.values()),
        *(_count(states, kind, len(names), batch.height) for kind in STATES),
    )
    return table.with_columns(
        *_helpers(names, states, batch.height),
        _blank(states, names, month).alias(BLANK),
        pl.struct(names).hash(seed=0).alias(ROW_HASH),
    )


def _read_column(batch: pl.DataFrame, name: str) -> tuple[pl.Series, pl.Series | None]:
    """The numbers of a column, and the states of its cells; None where all of them are fine."""
    number = batch[name].cast(pl.Float64, strict=False)
    if not number.null_count() and _all_usable(number, name):
        return number, None
    # Only now the slow way: white space around a number, and the reason why a cell cannot be used.
    slow = batch.select(
        pl.col(name).str.strip_chars().cast(pl.Float64, strict=False), state(name).alias("state")
    )
    usable = pl.when(pl.col(name).is_finite()).then(pl.col(name))
    return slow.select(usable.alias(name)).to_series(), slow["state"]


def _all_usable(number: pl.Series, name: str) -> bool:
    if not number.len():
        return True
    bounded = number.is_between(INT32_MIN, INT32_MAX).all()  # false for NaN and infinity, too
    return bounded and (name in AMOUNT_NAMES or bool((number == number.round()).all()))


def _client_id() -> pl.Expr:
    """The ID to the letter; one of white space alone is none."""
    return pl.when(pl.col(CLIENT_ID).str.strip_chars() != "").then(pl.col(CLIENT_ID)).alias(CLIENT_ID)


def _extra_fields(extras: tuple[str, ...]) -> pl.Expr:
    filled = [(pl.col(n).str.strip_chars() != "").fill_null(False).cast(pl.Int16) for n in extras]
    return pl.sum_horizontal(filled or [pl.zeros(pl.len(), pl.Int16)]).cast(pl.Int16).alias(EXTRA_FIELDS)


def _count(states: dict[str, pl.Series], kind: str, columns: int, height: int) -> pl.Series:
    """How many cells of each row are in a state."""
    count = pl.zeros(height, pl.Int16, eager=True)
    for name, seen in states.items():
        # A missing label has its own helper: a label column that is empty throughout is no fault.
        if not (kind == "missing_cells" and name == OUTCOME and columns > 1):
            count += (seen == STATES[kind]).cast(pl.Int16)
    return count.alias(kind)


def _helpers(names: list[str], states: dict[str, pl.Series], height: int) -> list[pl.Expr | pl.Series]:
    helpers: list[pl.Expr | pl.Series] = [_scientific_id()]
    if OUTCOME in names:
        none = pl.zeros(height, pl.UInt8, eager=True)
        helpers.append(
            (states.get(OUTCOME, none) == STATES["missing_cells"]).cast(pl.Int8).alias(MISSING_LABEL)
        )
    if set(_BILLS) <= set(names):
        helpers.append(_bill_to_limit())
    return helpers


def _scientific_id() -> pl.Expr:
    found = pl.col(CLIENT_ID).str.contains(r"^\d(\.\d+)?[eE]\+\d+$").fill_null(False)
    return found.cast(pl.Int8).alias(SCIENTIFIC_ID)


def _bill_to_limit() -> pl.Expr:
    limit, highest = pl.col("limit_bal"), pl.max_horizontal(_BILLS)
    return pl.when(limit > 0).then(highest / limit).alias("bill_to_limit")


def _blank(states: dict[str, pl.Series], names: list[str], month: list[str]) -> pl.Expr:
    if set(states) != set(names):
        return pl.lit(False)
    empty = [pl.lit(seen == STATES["missing_cells"]) for seen in states.values()]
    dateless = [pl.col(m).str.strip_chars().fill_null("") == "" for m in month]
    return pl.all_horizontal(*empty, pl.col(CLIENT_ID).is_null(), pl.col(EXTRA_FIELDS) == 0, *dateless)


def extra_cells(row: dict[str, str | None]) -> list[str]:
    """The cells of a row beyond the header, in order, without blank ones at the end."""
    cells = [value or "" for name, value in row.items() if name.startswith(EXTRA)]
    while cells and not cells[-1].strip():
        cells.pop()
    return cells
