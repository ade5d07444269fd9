"""The rules of `clients.json` and `outcomes.json`, read, checked and spread over their columns.

README.md of this folder says how to edit those files.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from creditflow.columns import AMOUNT_NAMES, ATTRIBUTE_NAMES, CODE_NAMES
from creditflow.errors import SuiteInvalid
from expectations.headers import Kind

Severity = Literal["critical", "warning", "info"]
Scope = Literal["rows", "file"]
GROUPS: dict[str, tuple[str, ...]] = {
    "@attributes": ATTRIBUTE_NAMES,
    "@amounts": AMOUNT_NAMES,
    "@codes": CODE_NAMES,
    "@pay": tuple(n for n in ATTRIBUTE_NAMES if n.startswith("pay_") and not n.startswith("pay_amt")),
    "@bills": tuple(n for n in ATTRIBUTE_NAMES if n.startswith("bill_")),
    "@payments": tuple(n for n in ATTRIBUTE_NAMES if n.startswith("pay_amt")),
}
_FIELDS = {"rule", "on", "expectation", "columns", "kwargs", "severity", "meaning", "remedy"}
_REQUIRED = _FIELDS - {"on", "kwargs", "remedy"}


@dataclass(frozen=True)
class Rule:
    """One rule on one column.

    Attributes:
        position: place in the suite, from 1; the first broken rule of a row is the one it is filed under.
        on: 'rows' (every row is held against it) or 'file' (a fact of the whole file is).
        kwargs: arguments of the Great Expectations expectation, without the column.
    """

    position: int
    rule: str
    on: Scope
    expectation: str
    column: str
    severity: Severity
    meaning: str
    remedy: str
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def mostly(self) -> float:
        """The share of the values that has to fit."""
        return float(self.kwargs.get("mostly", 1.0))


def load_suite(kind: Kind, folder: Path | None = None) -> list[Rule]:
    """The rules for a kind of file, one per column, in the order of the suite.

    Raises:
        SuiteInvalid: the JSON cannot be read, or a rule lacks a field, has an unknown one, or sets
            `mostly` on a rule that sets rows aside.
    """
    path = (folder or Path(__file__).parent) / f"{kind}.json"
    try:
        entries = json.loads(path.read_text("utf-8"))["rules"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _invalid(path, "JSON with a list 'rules'", f"{type(error).__name__}: {error}") from error
    for number, entry in enumerate(entries, start=1):
        _check(entry, path, number)
    pairs = [(entry, column) for entry in entries for column in _columns(entry)]
    return [_rule(position, entry, column) for position, (entry, column) in enumerate(pairs, start=1)]


def _rule(position: int, entry: dict[str, Any], column: str) -> Rule:
    return Rule(
        position=position,
        rule=entry["rule"],
        on=entry.get("on", "rows"),
        expectation=entry["expectation"],
        column=column,
        severity=entry["severity"],
        meaning=entry["meaning"],
        remedy=entry.get("remedy", "Correct the file and send it again."),
        kwargs=entry.get("kwargs", {}),
    )


def _columns(entry: dict[str, Any]) -> Iterator[str]:
    for name in entry["columns"]:
        yield from GROUPS.get(name, (name,))


def _check(entry: Any, path: Path, number: int) -> None:
    names = set(entry) if isinstance(entry, dict) else set()
    where = f"rule {number} ({entry['rule']!r})" if "rule" in names else f"rule {number}"
    if names - _FIELDS or _REQUIRED - names:
        odd = sorted(names - _FIELDS) + [f"no {name}" for name in sorted(_REQUIRED - names)]
        raise _invalid(path, f"{where} with the fields {sorted(_FIELDS)}", ", ".join(odd))
    if entry["severity"] not in get_args(Severity) or entry.get("on", "rows") not in get_args(Scope):
        raise _invalid(
            path, f"{where}: severity {get_args(Severity)}, on {get_args(Scope)}", repr(entry["severity"])
        )
    if entry["severity"] == "warning" and ("mostly" in entry.get("kwargs", {}) or entry.get("on") == "file"):
        raise _invalid(path, f"{where}: a warning that holds for each row", "'mostly', or a rule on the file")


def _invalid(path: Path, expected: str, found: str) -> SuiteInvalid:
    return SuiteInvalid(
        f"expectations/{path.name}", expected=expected, found=found, remedy="Correct the suite."
    )
