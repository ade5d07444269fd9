"""The pack's figures as data: `metrics.json`, whose schema is docs/metrics.schema.json."""

from dataclasses import dataclass

from pydantic import TypeAdapter

from creditflow import __version__
from creditflow.version import code_version
from tasks.reports.gather import (
    DriftFact,
    FileFact,
    GateCheck,
    Grade,
    Metric,
    ModelFact,
    MonthFacts,
    MonthRow,
    PdSummary,
)
from tasks.reports.scores import Concentration, Migration, ScoreFacts
from tasks.reports.segments import Fairness, Segment, SegmentFacts
from tasks.reports.validation import Comparison, Confusion, Gain, Group, Statistic, ValidationFacts, gains
from tasks.reports.verdict import Verdict, verdict

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Metrics:
    """The figures of one month's pack.

    A figure that could not be computed is null, and its neighbour `reason` says why. Amounts are in the
    currency of the file, times in UTC without a zone. `schema_version` rises when a field changes its meaning
    or goes.
    """

    schema_version: int
    month: str
    release: str
    code_version: str
    verdict: Verdict
    overview: MonthRow
    files: list[FileFact]
    models: list[ModelFact]
    pd: PdSummary
    grades: list[Grade]
    concentration: Concentration | None
    migration: Migration | None
    drift: list[DriftFact]
    performance: list[Metric]
    validation: list[Statistic]
    calibration: list[Group]
    gains: list[Gain]
    cut_off: Confusion | None
    comparisons: list[Comparison]
    gate: list[GateCheck]
    segments: list[Segment]
    fairness: list[Fairness]


def metrics_of(
    facts: MonthFacts, scores: ScoreFacts, found: ValidationFacts, groups: SegmentFacts
) -> Metrics:
    """The figures that the pages of the month show."""
    return Metrics(
        schema_version=SCHEMA_VERSION,
        month=facts.month,
        release=__version__,
        code_version=code_version(),
        verdict=verdict(facts.row, [*facts.alerts, *facts.later_alerts]),
        overview=facts.row,
        files=facts.current_files,
        models=facts.models,
        pd=facts.pd_summary,
        grades=facts.grades,
        concentration=scores.concentration,
        migration=scores.migration,
        drift=facts.drift,
        performance=facts.performance,
        validation=found.statistics,
        calibration=found.groups,
        gains=gains(found.twentieths),
        cut_off=found.confusion,
        comparisons=found.comparisons,
        gate=facts.gate,
        segments=groups.segments,
        fairness=groups.fairness,
    )


def as_json(metrics: Metrics) -> str:
    """The content of `metrics.json`."""
    return TypeAdapter(Metrics).dump_json(metrics, indent=1).decode() + "\n"


def schema() -> dict[str, object]:
    """JSON Schema (2020-12) of `metrics.json`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "creditflow metrics.json",
        **TypeAdapter(Metrics).json_schema(mode="serialization"),
    }
