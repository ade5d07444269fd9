"""What each product of a month was made from: the memory by which a run sees what is stale.

A run that was killed half-way is made good by the next one, which finds what is due here and not in what
the earlier run meant to do.
"""

import json
from collections.abc import Sequence
from typing import Literal

import duckdb

from creditflow.month import Month
from sql.warehouse import execute

Product = Literal["scores", "drift", "estimates", "performance", "report"]


def due_months(con: duckdb.DuckDBPyConnection, month: Month, product: Product) -> dict[Month, str]:
    """Months up to `month` whose product is older than what it is made from, each with the latter."""
    due = execute(con, "due_months", month=str(month), product=product)
    return {Month.parse(text): made_from for text, made_from in due}


def record_made(con: duckdb.DuckDBPyConnection, month: Month, product: Product, made_from: str) -> None:
    """Writes down what a product was made from. The caller holds the transaction."""
    execute(con, "forget_derived", month=str(month), product=product)
    execute(con, "record_derived", month=str(month), product=product, made_from=made_from)


def revised_since(con: duckdb.DuckDBPyConnection, version: str) -> tuple[str, ...]:
    """Months that a set learned from whose files have other content now; () where that is not on record."""
    ((told,),) = execute(con, "training_files", version=version) or [(None,)]
    learned = json.loads(told) if told else {}
    present = learned_contents(con, list(learned))
    return tuple(month for month in sorted(learned) if learned[month] != present[month])


def learned_contents(con: duckdb.DuckDBPyConnection, months: Sequence[str]) -> dict[str, list[str]]:
    """SHA-256 of the current client and outcome files of each month."""
    found: dict[str, list[str]] = {month: [] for month in months}
    for sha256, _, month in sorted(execute(con, "loaded_files")):
        if month in found:
            found[month].append(sha256)
    return found
