"""The rules of `alerts.toml`, read and checked. README.md of this folder says how to edit that file."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from creditflow.errors import SuiteInvalid
from expectations.suite import Severity

DEFAULT = Path(__file__).with_name("alerts.toml")
RUN_FAILED, OVERDUE = "run_failed", "overdue_file"
# The numbers that each rule needs, with the range of each.
_SHARE, _COUNT, _POSITIVE, _PROBABILITY = (0.0, 1.0), (0.0, math.inf), (0.0, math.inf), (0.0, 0.5)
NUMBERS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    RUN_FAILED: {},
    "score_drift": {"threshold": _POSITIVE},
    "attribute_drift": {"threshold": _POSITIVE},
    "quarantine_share": {"threshold": _SHARE},
    "failed_expectations": {"threshold": _COUNT},
    OVERDUE: {},
    "auc_decay": {"threshold": _SHARE},
    "calibration": {"threshold": _SHARE, "significance": _PROBABILITY},
    "gate_refused": {},
    "training_failed": {},
    "champion_unusable": {},
    "stale_months": {"threshold": _COUNT},
}
_TEXTS = ("meaning", "remedy")


@dataclass(frozen=True)
class AlertRule:
    """One rule that is enabled.

    Attributes:
        position: place in the file, from 1.
        threshold: the rule is raised where the value lies beyond it; None where it has none.
        significance: of the z test of `calibration`; None for any other rule.
    """

    position: int
    rule: str
    severity: Severity
    meaning: str
    remedy: str
    threshold: float | None = None
    significance: float | None = None

    @property
    def limit(self) -> float:
        """The threshold of a rule that has one."""
        if self.threshold is None:
            raise TypeError(f"{self.rule} has no threshold")
        return self.threshold


def load_alert_rules(path: Path | None = None) -> list[AlertRule]:
    """The enabled rules, in the order of the file; `alerts.toml` of this folder where no other is named.

    Raises:
        SuiteInvalid: the file cannot be read, names an unknown rule or field, lacks a field, or a value is
            out of its range.
    """
    chosen = path or DEFAULT
    try:
        tables = tomllib.loads(chosen.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _invalid(chosen, "a TOML file of alert rules", f"{type(error).__name__}: {error}") from error
    rules = [_rule(chosen, n, name, table) for n, (name, table) in enumerate(tables.items(), start=1)]
    return [rule for rule, table in zip(rules, tables.values(), strict=True) if table.get("enabled", True)]


def _rule(path: Path, position: int, name: str, table: Any) -> AlertRule:
    if name not in NUMBERS:
        raise _invalid(path, f"rules among {', '.join(NUMBERS)}", repr(name))
    if not isinstance(table, dict):
        raise _invalid(path, f"[{name}] as a table", f"{name} = {table!r}")
    numbers = NUMBERS[name]
    _check_fields(path, name, table, {"severity", *_TEXTS, *numbers})
    if table["severity"] not in get_args(Severity):
        allowed = ", ".join(get_args(Severity))
        raise _invalid(path, f"[{name}] severity to be one of {allowed}", repr(table["severity"]))
    for key in _TEXTS:
        if not isinstance(table[key], str) or not table[key].strip():
            raise _invalid(path, f"[{name}] {key} to be a sentence", repr(table[key]))
    if not isinstance(table.get("enabled", True), bool):
        raise _invalid(path, f"[{name}] enabled to be true or false", repr(table["enabled"]))
    values = {key: _number(path, name, key, table[key], limits) for key, limits in numbers.items()}
    meaning, remedy = (" ".join(table[key].split()) for key in _TEXTS)
    return AlertRule(
        position,
        name,
        table["severity"],
        meaning,
        remedy,
        values.get("threshold"),
        values.get("significance"),
    )


def _check_fields(path: Path, name: str, table: dict[str, Any], required: set[str]) -> None:
    odd = [f"{key!r}" for key in sorted(table.keys() - required - {"enabled"})]
    odd += [f"no {key!r}" for key in sorted(required - table.keys())]
    if odd:
        fields = ", ".join(sorted(required))
        raise _invalid(path, f"[{name}] with the fields {fields}, and enabled if need be", ", ".join(odd))


def _number(path: Path, name: str, key: str, value: Any, limits: tuple[float, float]) -> float:
    low, high = limits
    # TOML knows nan and inf, and a truth value is a number to Python.
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not fits or not low <= value <= high or (key == "significance" and value == 0):
        span = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
        raise _invalid(path, f"[{name}] {key} to be a number {span}", repr(value))
    return float(value)


def _invalid(path: Path, expected: str, found: str) -> SuiteInvalid:
    where = f"expectations/{path.name}" if path == DEFAULT else str(path)
    return SuiteInvalid(where, expected=expected, found=found, remedy="Correct the file of alert rules.")
