"""The settings that change what a run computes, taken out of all settings."""

from dataclasses import fields

from flows.settings import Settings
from tasks.options import Options


def run_options(settings: Settings) -> Options:
    """The part of the settings that belongs to a month's fingerprint."""
    return Options(**{f.name: getattr(settings, f.name) for f in fields(Options)})
