"""Whether a file's content fits its month, as facts that the suite holds against thresholds.

A client file of month M repeats five of the six statements of month M-1: `pay_2` of M is `pay_1` of
M-1, and so on. A file where that does not hold belongs to another month; one whose statements are all
the same as last month's was sent again. Clients for whom both hold (a card that is not used has the
same statement every month) tell neither and are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from creditflow.columns import CLIENT_ID, STATEMENTS
from creditflow.month import Month
from expectations.headers import STATEMENT_MONTH, Kind

LEAST_SHARED = 100
_SERIES = ("pay_", "bill_amt", "pay_amt")
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
    kind: Kind,
    month: Month,
    loaded_as: tuple[str, str] | None,
    previous_clients: Path | None,
) -> Facts:
    """The facts on which the rules 'the month fits' rest.

    Args:
        table: the typed table (`cells.typed`).
        loaded_as: (kind, month) under which a file of the same bytes was loaded; None if none was.
        previous_clients: Parquet of the accepted clients of the month before; None if there is none.
    """
    facts = Facts()
    _same_bytes(facts, kind, month, loaded_as)
    _month_column(facts, table, month)
    if kind == "clients":
        _statements(facts, table, month, previous_clients)
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


def _statements(facts: Facts, table: pl.LazyFrame, month: Month, previous: Path | None) -> None:
    before = month.plus(-1)
    if previous is None:
        return _skip_statements(facts, f"no client file of {before} is loaded")
    seen = _compare(table, previous)
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


def _compare(table: pl.LazyFrame, previous: Path) -> Mapping[str, int]:
    """Shared clients, and how many of them roll, repeat, or do both."""
    statements = [f"{series}{n}" for series in _SERIES for n in STATEMENTS]
    now = table.select(CLIENT_ID, *statements).unique(CLIENT_ID, keep="any")
    then = pl.scan_parquet(previous, glob=False, hive_partitioning=False).select(
        CLIENT_ID, *(pl.col(name).cast(pl.Float64).alias(f"{name}:then") for name in statements)
    )
    rolled = pl.all_horizontal(
        pl.col(f"{s}{n + 1}") == pl.col(f"{s}{n}:then") for s in _SERIES for n in STATEMENTS[:-1]
    ).fill_null(False)
    repeated = pl.all_horizontal(pl.col(n) == pl.col(f"{n}:then") for n in statements).fill_null(False)
    counts = now.join(then, on=CLIENT_ID).select(
        pl.len().alias("shared"),
        rolled.sum().alias("rolled"),
        repeated.sum().alias("repeated"),
        (rolled & repeated).sum().alias("both"),
    )
    return counts.collect(engine="streaming").row(0, named=True)
