"""The options of a run: what, besides files, models and code, decides its rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import SecretStr

if TYPE_CHECKING:
    from tasks.schedule import Clock


@dataclass(frozen=True)
class Options:
    """The settings that change what a run computes."""

    seed: int = 42
    max_quarantine_share: float = 0.05
    max_model_age_months: int = 6
    max_drift_psi: float = 0.25
    max_auc_decay: float = 0.05
    gate_confidence: float = 0.9
    gate_margin_auc: float = 0.02
    gate_margin_brier: float = 0.005
    gate_max_psi: float = 0.25
    training_window_months: int = 12
    training_max_rows: int = 200_000
    base_points: int = 600
    base_odds: float = 30
    points_to_double: float = 20
    attributes: Literal["unprotected", "all"] = "unprotected"
    cost_missed_default: float = 5
    cost_refused_good: float = 1
    loss_given_default: float = 0.5
    explain_up_to: int = 1_000_000
    explain_share: float = 0.1
    report_sample_rows: int = 50_000
    evidently: bool = True


@dataclass(frozen=True)
class Alerting:
    """By which rules alerts are raised and who is told; no part of what decides a month's rows.

    Args:
        rules: a file of rules in the place of `expectations/alerts.toml`.
        clock: the schedule, by which a file is overdue.
        minimum: the least severity that is sent to `blocks` and `webhook`; Prefect events know no minimum.
        blocks: names of Prefect block documents, such as `slack-webhook/risk`.
        webhook: an address that receives the alerts as JSON. It may hold a secret.
    """

    rules: Path | None = None
    clock: "Clock | None" = None
    minimum: Literal["critical", "warning", "info"] = "warning"
    blocks: tuple[str, ...] = ()
    webhook: SecretStr | None = None
