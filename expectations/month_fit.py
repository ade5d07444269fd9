"""Whether a file's content fits its month, as facts that the suite holds against thresholds.

A client file of month M repeats five of the six statements of month M-1: `pay_2` of M is `pay_1` of
M-1, and so on. A file where that does not hold belongs to another month; one whose statements are all
the same as last month's was sent again. Clients for whom both hold (a card that is not used has the
same statement every month) tell neither and are left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from creditflow.columns import CLIENT_ID, ROW_NUMBER, STATEMENTS
from creditflow.month import Month
from expectations.hashing import hashes
from expectations.headers import STATEMENT_MONTH, Kind

LEAST_SHARED = 100
_SERIES = ("pay_", "bill_amt", "pay_amt")
_BATCH = 500_000
_LOW = np.uint64(2**32 - 1)
_MONTH_PATTERN = r"^\s*(\d{4})\D?(\d{2})"


@dataclass
class Facts:
    """Facts of a whole file.

    Attributes:
        values: fact → number, None where it could not be found out.
        words: fact → what was seen, for messages.
        reasons: fact → why it could not be found out.
    """

    values: dict[str, float | int | None] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: float | int, words: str) -> None:
        self.values[name], self.words[name] = value, words

    def skip(self, name: str, reason: str) -> None:
        self.values[name], self.reasons[name] = None, reason

    def frame(self) -> pl.DataFrame:
        return pl.DataFrame({k: [v] for k, v in self.values.items()}, strict=False)


def month_facts(
    table: pl.LazyFrame,
    again: pl.Series,
    kind: Kind,
    month: Month,
    loaded_as: tuple[str, str] | None,
    previous_clients: Path | None,
) -> Facts:
    """The facts on which the rules 'the month fits' rest.

    Args:
        table: the typed table (`cells.typed`).
        again: numbers of the rows that repeat an ID (`staging.Table`).
        loaded_as: (kind, month) under which a file of the same bytes was loaded; None if none was.
        previous_clients: Parquet of the accepted clients of the month before; None if there is none.
    """
    facts = Facts()
    _same_bytes(facts, kind, month, loaded_as)
    _month_column(facts, table, month)
    if kind == "clients":
        _statements(facts, table, again, month, previous_clients)
    return facts


def _same_bytes(facts: Facts, kind: Kind, month: Month, loaded_as: tuple[str, str] | None) -> None:
    elsewhere = loaded_as is not None and loaded_as != (kind, str(month))
    words = f"the same bytes as the {loaded_as[0]} file of {loaded_as[1]}" if loaded_as and elsewhere else ""
    facts.add("loaded_for_another_month", int(elsewhere), words or "bytes that were not loaded before")


def _month_column(facts: Facts, table: pl.LazyFrame, month: Month) -> None:
    name = "rows_of_another_month"
    if STATEMENT_MONTH not in table.collect_schema():
        facts.skip(name, "the file has no month column")
        return
    text = pl.col(STATEMENT_MONTH)
    read = text.str.replace(_MONTH_PATTERN, "${1}-${2}").str.slice(0, 7)
    other = table.filter((text.str.strip_chars() != "") & (read != str(month)))
    seen = other.select(pl.len().alias("rows"), text.first().alias("first")).collect().row(0, named=True)
    facts.add(name, seen["rows"], f"{seen['rows']:,} rows of another month, the first {seen['first']!r}")


def _statements(
    facts: Facts, table: pl.LazyFrame, again: pl.Series, month: Month, previous: Path | None
) -> None:
    before = month.plus(-1)
    if previous is None:
        return _skip_statements(facts, f"no client file of {before} is loaded")
    seen = _compare(table, again, previous)
    telling = seen["shared"] - seen["both"]
    if seen["shared"] < LEAST_SHARED or telling < LEAST_SHARED:
        found = f"{seen['shared']:,} clients are shared with {before}, {telling:,} with statements that vary"
        return _skip_statements(facts, f"{found}; at least {LEAST_SHARED} are needed")
    rolled, repeated = seen["rolled"] - seen["both"], seen["repeated"] - seen["both"]
    shared = f"of {telling:,} clients shared with {before}"
    facts.add(
        "rolled_share",
        rolled / telling,
        f"{shared}, the statements of {rolled:,} ({rolled / telling:.1%}) continue those of {before}",
    )
    facts.add(
        "repeated_share",
        repeated / telling,
        f"{shared}, {repeated:,} ({repeated / telling:.1%}) have exactly the statements of {before}",
    )
    return None


def _skip_statements(facts: Facts, reason: str) -> None:
    facts.skip("rolled_share", reason)
    facts.skip("repeated_share", reason)


def _compare(table: pl.LazyFrame, again: pl.Series, previous: Path) -> Mapping[str, int]:
    """Shared clients, and how many of them roll, repeat, or do both; of a repeated ID the first row counts.

    Clients are matched by a hash of 64 bits and their statements by two of 32 bits, so that 16 bytes a client
    of last month are held in memory. The probability that a client's statements agree by chance is 2^-32.
    """
    then = pl.scan_parquet(previous, glob=False, hive_partitioning=False)
    ids, prints = hashes(then, _id_print()), hashes(then, _prints(STATEMENTS[:-1]))
    order = np.argsort(ids)
    ids, prints = ids[order], prints[order]
    counts = dict.fromkeys(("shared", "rolled", "repeated", "both"), 0)
    now = table.select(
        ROW_NUMBER,
        CLIENT_ID,
        _id_print().alias("id"),
        _prints(STATEMENTS[1:]).alias("prints"),
        _complete(STATEMENTS[1:]).alias("newer"),
        _complete(STATEMENTS).alias("all"),
    )
    for batch in now.collect_batches(chunk_size=_BATCH):
        seen = batch.filter(
            pl.col(CLIENT_ID).is_not_null() & ~pl.col(ROW_NUMBER).is_in(again.implode())
        ).sort("id")
        _count(counts, seen, ids, prints)
    return counts


def _count(counts: dict[str, int], seen: pl.DataFrame, ids: np.ndarray, prints: np.ndarray) -> None:
    if not len(ids) or not seen.height:
        return
    found = seen["id"].to_numpy()
    place = np.minimum(np.searchsorted(ids, found), len(ids) - 1)
    shared = ids[place] == found
    differ = seen["prints"].to_numpy() ^ prints[place]
    rolled = shared & ((differ >> np.uint64(32)) == 0) & seen["newer"].to_numpy()
    repeated = shared & ((differ & _LOW) == 0) & seen["all"].to_numpy()
    both = rolled & repeated
    for name, mask in zip(counts, (shared, rolled, repeated, both), strict=True):
        counts[name] += int(mask.sum())


def _statement_columns(statements: Iterable[int]) -> list[pl.Expr]:
    return [pl.col(f"{series}{n}").cast(pl.Float64) for series in _SERIES for n in statements]


def _id_print() -> pl.Expr:
    return pl.col(CLIENT_ID).hash()


def _prints(rolling: Iterable[int]) -> pl.Expr:
    """UInt64: the high half tells the statements that roll, the low half all of them."""
    # Fields by place: last month's statement 1 stands where this month's statement 2 does.
    halves = (
        pl.struct(c.alias(str(i)) for i, c in enumerate(_statement_columns(statements))).hash() // 2**32
        for statements in (rolling, STATEMENTS)
    )
    high, low = halves
    return high * 2**32 + low


def _complete(statements: Iterable[int]) -> pl.Expr:
    return pl.all_horizontal(c.is_not_null() for c in _statement_columns(statements))
