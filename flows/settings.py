"""Every setting of creditflow, read from the environment (`CREDITFLOW_*`) or a `.env` file.

`.env.example` lists them all; a test keeps it true.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from creditflow.errors import UsageError

_CHECKOUT = Path(__file__).resolve().parent.parent


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("a time zone of the IANA database, such as Europe/Berlin") from error
    return name


# A month of a million clients was run with half of it; a month of ten times as many asks for more.
LEAST_MEMORY = 256 * 10**6
_UNITS = {f"{letter}B": 1000**power for power, letter in enumerate("KMGT", 1)}
_UNITS |= {f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)}


def _enough_memory(text: str) -> str:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B)", text)
    if not found:
        raise ValueError("a number and KB, MB, GB or TB, such as 4GB")
    if float(found[1]) * _UNITS[found[2]] < LEAST_MEMORY:
        raise ValueError("at least 256MB")
    return text


class Settings(BaseSettings):
    """How a run behaves. Values are checked when they are read."""

    model_config = SettingsConfigDict(env_prefix="CREDITFLOW_", env_file=".env", extra="ignore")

    home: Path = Field(
        _CHECKOUT / "var",
        description="Folder that holds inbox, warehouse, artifacts and everything published.",
    )
    seed: int = Field(42, ge=0, description="Seed of every random choice: splits, models, samples.")
    max_quarantine_share: float = Field(
        0.05, ge=0, le=1, description="Share of rows set aside above which a file is refused."
    )
    max_model_age_months: int = Field(
        6, ge=1, description="Age in months at which the champion is retrained."
    )
    max_drift_psi: float = Field(
        0.25, gt=0, description="PSI of the champion's score in its newest month above which it is retrained."
    )
    max_auc_decay: float = Field(
        0.05,
        ge=0,
        le=1,
        description="How far the champion's ROC AUC of the newest month with outcomes may lie below the "
        "held-out one before it is retrained.",
    )
    gate_confidence: float = Field(
        0.9, gt=0.5, lt=1, description="Confidence of the promotion gate's two-sided bootstrap intervals."
    )
    gate_margin_auc: float = Field(
        0.02,
        ge=0,
        le=1,
        description="ROC AUC by which a challenger must, with confidence, not be worse than the champion.",
    )
    gate_margin_brier: float = Field(
        0.005, ge=0, le=1, description="Brier score by which a challenger may be worse than the champion."
    )
    gate_max_psi: float = Field(
        0.25, gt=0, description="PSI of a challenger's score in the month at hand above which it is refused."
    )
    training_window_months: int = Field(
        12, ge=1, description="How many of the newest months with known outcomes a model learns from."
    )
    training_max_rows: int = Field(
        200_000,
        ge=1_000,
        description="Most client-months a model learns from; beyond that a seeded sample is drawn.",
    )
    base_points: int = Field(600, description="Score points at the base odds.")
    base_odds: float = Field(
        30, gt=0, description="Odds of non-default to default that earn the base points."
    )
    points_to_double: float = Field(20, gt=0, description="Points that double the odds.")
    attributes: Literal["unprotected", "all"] = Field(
        "unprotected",
        description="What models may know: unprotected leaves out sex, marriage and age; all does not.",
    )
    cost_missed_default: float = Field(
        5, gt=0, description="Cost of a default that was not flagged; only its ratio to the next counts."
    )
    cost_refused_good: float = Field(1, gt=0, description="Cost of flagging a client who does not default.")
    loss_given_default: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the exposure that a default loses, for the expected loss of the pages; 0.5 is "
        "the least that Basel III lets a bank assume for credit cards (CRE32.58).",
    )
    explain_up_to: int = Field(
        1_000_000, ge=0, description="Every client gets reasons in a month of at most this many clients."
    )
    explain_share: float = Field(
        0.1, ge=0, le=1, description="Share of a larger month's clients, riskiest first, who get reasons."
    )
    report_sample_rows: int = Field(
        50_000, ge=100, description="Most clients a side in Evidently's reports; a seeded sample beyond that."
    )
    evidently: bool = Field(True, description="Whether Evidently's two pages are built.")
    chromium: str | None = Field(
        None, description="The Chromium that prints pages to PDF; without it the first one on the PATH."
    )
    memory_limit: Annotated[str, AfterValidator(_enough_memory)] = Field(
        "768MB",
        description="Most memory that DuckDB holds, such as 4GB, at least 256MB; what does not fit goes to "
        "disk. It does not cover what polars, torch and pandas hold beside it: docs/operations.md.",
    )
    lock_wait_seconds: float = Field(
        10, ge=0, description="How long a run waits for another one on the same home before it is refused."
    )
    schedule_day: int = Field(
        5, ge=1, le=28, description="Day of the month on which the clock starts a run (1 to 28)."
    )
    schedule_hour: int = Field(6, ge=0, le=23, description="Hour of that day, in the schedule's time zone.")
    schedule_timezone: Annotated[str, AfterValidator(_known_zone)] = Field(
        "UTC", description="Time zone of the schedule, by its name in the IANA database."
    )
    schedule_lag_months: int = Field(
        1, ge=0, le=24, description="How many months before its start the month lies that the clock asks for."
    )
    schedule_look_again_hours: float = Field(
        24,
        ge=0,
        le=720,
        description="After how many hours the schedule looks again for a client file that has not come; "
        "0 waits for the next month's run.",
    )
    file_settle_seconds: float = Field(
        2,
        ge=0,
        le=600,
        description="How long a file must have stayed as it is before it is read; 0 reads at once.",
    )
    stage_retries: int = Field(
        3,
        ge=0,
        le=10,
        description="How often a stage is tried again after a fault that can pass: a file still being "
        "written, a database held by another process.",
    )
    stage_retry_seconds: float = Field(
        5, ge=0, le=600, description="Pause before the first of these; each further pause is twice as long."
    )
    report_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s<>\"]+$",
        description="Where a web server of yours shows published/reports, for links in the Prefect UI.",
    )
    alert_rules: Path | None = Field(
        None, description="File of alert rules in the place of expectations/alerts.toml."
    )
    alert_minimum: Literal["critical", "warning", "info"] = Field(
        "warning", description="Least severity of the alerts that are sent to alert_blocks and alert_webhook."
    )
    alert_blocks: str = Field(
        "",
        pattern=r"^\s*([a-z0-9-]+/[a-z0-9-]+\s*(,\s*[a-z0-9-]+/[a-z0-9-]+\s*)*)?$",
        description="Prefect notification blocks that alerts are sent to, separated by commas, such as "
        "slack-webhook/risk.",
    )
    alert_webhook: SecretStr | None = Field(
        None, description="Web address that alerts are sent to as JSON; kept out of every output."
    )
    dask: str | None = Field(
        None,
        pattern=r"^([a-z]+://)?[^\s/]+:\d+$",
        description="Address of a Dask scheduler, such as tls://10.0.0.5:8786, whose workers do the work of "
        "creditflow score; without it this machine does.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        "CRITICAL",
        description="Level of Prefect's log on the terminal; errors are shown by the command line.",
    )


def _in_words(message: str) -> str:
    told = message.removeprefix("Value error, ")
    return told[:1].lower() + told[1:]


def load_settings(**overrides: Any) -> Settings:
    """The settings in force; `overrides` win over the environment.

    Raises:
        UsageError: a value is not acceptable; the first one is named.
    """
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise UsageError(
            f"setting CREDITFLOW_{name.removeprefix('CREDITFLOW_')}",
            expected=_in_words(first["msg"]),
            found=repr(first["input"]),
            remedy="Correct it in the environment or in .env; .env.example describes every setting.",
        ) from error
    return settings.model_copy(update={"home": settings.home.expanduser().resolve()})
