"""What goes into the check of a file and what comes out of it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from creditflow.month import Month
from expectations.headers import Kind

# Entered around each part of the intake, by name: "read", "check", "split".
Step = Callable[[str], AbstractContextManager[object]]


def no_step(_name: str) -> AbstractContextManager[None]:
    """A part that nobody times."""
    return nullcontext()


@dataclass(frozen=True)
class Context:
    """What is known beside the file.

    Attributes:
        known_clients: Parquet with `client_id`: the accepted clients of the outcome file's month.
        previous_clients: Parquet with `client_id` and the statements of last month's accepted clients.
        loaded: SHA-256 → (kind, month) of every file that was loaded.
        max_quarantine_share: above this share of quarantined rows the file is refused.
    """

    known_clients: Path | None = None
    previous_clients: Path | None = None
    loaded: Mapping[str, tuple[str, Month | str]] = field(default_factory=dict)
    max_quarantine_share: float = 0.05


@dataclass(frozen=True)
class ExpectationResult:
    """What one rule found on one column; a row of the table `expectation_results`.

    `examples` is JSON: a list of at most five {"row_number", "column", "value"}.
    """

    position: int
    rule: str
    expectation: str
    column_name: str | None
    severity: str
    meaning: str
    outcome: Literal["passed", "failed", "not run"]
    evaluated: int
    unexpected: int
    examples: str
    reason: str | None


@dataclass(frozen=True)
class CheckedFile:
    """A file that was accepted, with its rows split; received = accepted + quarantined.

    Attributes:
        accepted_parquet: CLIENT_SCHEMA or OUTCOME_SCHEMA, and row_number (Int64, 1 = first row of data).
        outcomes_parquet: the labels of a client file: OUTCOME_SCHEMA and row_number; None without labels.
        quarantine_parquet: the columns of `quarantine.SCHEMA`.
    """

    path: Path
    kind: Kind
    month: Month
    sha256: str
    bytes: int
    received: int
    accepted: int
    quarantined: int
    has_label: bool
    accepted_parquet: Path
    outcomes_parquet: Path | None
    quarantine_parquet: Path
    results: list[ExpectationResult]
