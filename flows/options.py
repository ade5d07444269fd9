"""The settings that change what a run computes, taken out of all settings."""

from dataclasses import fields
from typing import TYPE_CHECKING

from creditflow.errors import UsageError
from expectations.alerting import load_alert_rules
from flows.settings import Settings
from tasks.options import Alerting, Options

if TYPE_CHECKING:
    from tasks.stage import Patience


def run_options(settings: Settings) -> Options:
    """The part of the settings that belongs to a month's fingerprint."""
    return Options(**{f.name: getattr(settings, f.name) for f in fields(Options)})


def alerting(settings: Settings) -> Alerting:
    """The part of the settings that says which alerts are raised and who is told.

    Raises:
        UsageError: the webhook is no web address.
        SuiteInvalid: the file of rules cannot be applied.
    """
    webhook = settings.alert_webhook
    if webhook and not webhook.get_secret_value().startswith(("http://", "https://")):
        # Checked here and not by the setting, whose error would quote it.
        raise UsageError(
            "setting CREDITFLOW_ALERT_WEBHOOK",
            expected="an address that begins with http:// or https://",
            found="another text",
            remedy="Correct it in the environment or in .env.",
        )
    rules = settings.alert_rules.expanduser() if settings.alert_rules else None
    # A mistake in it is found before anything is run.
    load_alert_rules(rules)
    return Alerting(
        rules=rules,
        clock=settings,
        minimum=settings.alert_minimum,
        blocks=tuple(name.strip() for name in settings.alert_blocks.split(",") if name.strip()),
        webhook=webhook or None,
    )


def run_patience(settings: Settings) -> "Patience":
    """The part of the settings that says how long a run waits for what can pass."""
    from tasks.stage import Patience

    return Patience(settings.file_settle_seconds, settings.stage_retries, settings.stage_retry_seconds)
