"""The regular names of a client's attributes, their types and their meaning.

`ATTRIBUTES` is the study's set of 23, in the order of the original sheet (X1 … X23). Number 1 of a
series is the newest statement: `pay_1` is this month's status, `pay_2` last month's.
"""

from dataclasses import dataclass
from typing import Literal

import polars as pl

CLIENT_ID = "client_id"
OUTCOME = "defaulted"
ROW_NUMBER = "row_number"
STATEMENTS = range(1, 7)

Role = Literal["amount", "code", "age"]


@dataclass(frozen=True)
class Attribute:
    """One column of a client file: its name, role and plain-English meaning."""

    name: str
    role: Role
    meaning: str

    @property
    def dtype(self) -> type[pl.DataType]:
        """Amounts may carry fractions (Float64); codes and the age are whole numbers (Int16)."""
        return pl.Float64 if self.role == "amount" else pl.Int16


def _series(prefix: str, role: Role, meaning: str) -> list[Attribute]:
    return [Attribute(f"{prefix}{n}", role, f"{meaning}, statement {n} (1 = newest)") for n in STATEMENTS]


ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("limit_bal", "amount", "credit limit, in the currency of the file; above zero"),
    Attribute("sex", "code", "1 male, 2 female"),
    Attribute(
        "education",
        "code",
        "1 graduate school, 2 university, 3 high school, 4 others; 0, 5 and 6 occur undocumented",
    ),
    Attribute("marriage", "code", "1 married, 2 single, 3 others; 0 occurs undocumented"),
    Attribute("age", "age", "age in years"),
    *_series(
        "pay_",
        "code",
        "payment status: -2 no consumption, -1 paid in full, 0 revolving, 1…9 months of delay",
    ),
    *_series("bill_amt", "amount", "amount of the bill; negative when the client is in credit"),
    *_series("pay_amt", "amount", "amount paid"),
)

ATTRIBUTE_NAMES: tuple[str, ...] = tuple(a.name for a in ATTRIBUTES)
CODE_NAMES: tuple[str, ...] = tuple(a.name for a in ATTRIBUTES if a.role == "code")
AMOUNT_NAMES: tuple[str, ...] = tuple(a.name for a in ATTRIBUTES if a.role == "amount")
CLIENT_SCHEMA: dict[str, type[pl.DataType]] = {
    CLIENT_ID: pl.String,
    **{a.name: a.dtype for a in ATTRIBUTES},
}
OUTCOME_SCHEMA: dict[str, type[pl.DataType]] = {CLIENT_ID: pl.String, OUTCOME: pl.Int8}
