"""Makes Prefect, Great Expectations and Evidently quiet and private before they are imported.

No telemetry, no network but loopback, Prefect's own files under CREDITFLOW_HOME. Values that the
environment already sets are respected, so that an installation may point to its own Prefect server.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flows.settings import Settings


def prepare_environment(home: Path, log_level: str = "CRITICAL") -> None:
    """Sets what has to be set before the first heavy import."""
    defaults = {
        "DO_NOT_TRACK": "1",
        # Threads that wait do not spin: on a busy machine spinning costs tenfold.
        "OMP_WAIT_POLICY": "PASSIVE",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "GX_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": log_level,
        "PREFECT_LOGGING_SERVER_LEVEL": log_level,
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def quiet_settings() -> "Settings":
    """The settings in force, with the environment made quiet before anything heavy is imported.

    Raises:
        UsageError: a setting is not acceptable.
    """
    from flows.settings import load_settings

    settings = load_settings()
    prepare_environment(settings.home, settings.log_level)
    return settings
