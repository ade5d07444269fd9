"""The lines that a service says: plain words with their time, whatever the level of Prefect's own log."""

import atexit
import logging
import os
import sys
import time

LOGGER = logging.getLogger("creditflow")


def speak() -> None:
    """Has `creditflow.*` write `2026-12-05 06:00:00 UTC  line` to standard output; again changes nothing."""
    LOGGER.setLevel(logging.INFO)
    # Prefect's root logger would say each line a second time.
    LOGGER.propagate = False
    if any(handler.get_name() == "creditflow" for handler in LOGGER.handlers):
        return
    handler = logging.StreamHandler(sys.stdout)
    handler.set_name("creditflow")
    form = logging.Formatter("%(asctime)s UTC  %(message)s", "%Y-%m-%d %H:%M:%S")
    form.converter = time.gmtime
    handler.setFormatter(form)
    LOGGER.addHandler(handler)


def end_quietly() -> None:
    """Has the process say nothing after its exit functions.

    DuckDB's bindings would print pages of objects that a thread of Prefect's still held.
    """

    def silence() -> None:
        sys.stderr.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    atexit.register(silence)
