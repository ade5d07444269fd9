"""Brings up what a command that runs months needs: Prefect's server in a process of its own, imports in ours.

Both take seconds, and go on at the same time. Every module that is imported here is one that a run imports in
any case; whoever only asks, or has nothing to run, comes not this way.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from creditflow.imports import without_collector
from flows.server import OwnServer

# In the order in which a run comes to need them; but skops looks, for each name that it trusts, through all
# modules that are there already.
HEAVY = (
    "skops.io",
    "flows.backfill",
    "expectations.runner",
    "great_expectations",
    "models.artifacts",
    "tasks.reports.pack",
)


@contextmanager
def prefect_at_hand(home: Path) -> Iterator[None]:
    """For the block, flows find a server: the one that Prefect's settings name, else one that ends with it.

    Raises:
        ServerUnreachable: the own one does not start.
    """
    with _server(home) as (own, settings):
        import_heavy()
        if own:
            own.wait()
        from prefect.settings import temporary_settings

        with temporary_settings(settings):
            yield


@contextmanager
def _server(home: Path) -> Iterator[tuple[OwnServer | None, dict[Any, Any]]]:
    """A server that is being started, and the settings that lead to it; none of both where one is named."""
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY

    if PREFECT_API_URL.value():
        # Its heartbeats stay: that server may look for runs that have died.
        yield None, {}
        return
    own = OwnServer(home / "prefect", brief=True).start()
    try:
        # Nobody is left to miss a heartbeat when both processes have ended.
        yield own, {PREFECT_API_URL: f"{own.url}/api", PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    finally:
        own.stop()


def import_heavy() -> None:
    """Imports what a run needs."""
    with without_collector():
        for name in HEAVY:
            import_module(name)
