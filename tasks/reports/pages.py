"""Our own pages: facts in, one self-contained HTML text out. Nothing here reads or writes anything.

Every text reaches the page through Jinja2 with autoescape on, so a client ID that is markup is only text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from creditflow import __version__
from creditflow.version import code_version
from tasks.reports import charts
from tasks.reports.evidently_pages import EvidentlyPage
from tasks.reports.gather import (
    PD_BINS,
    QUARANTINE_ROWS,
    DriftFact,
    Expectation,
    Metric,
    MonthFacts,
    MonthRow,
)
from tasks.reports.verdict import band, verdict

_TEMPLATES = Path(__file__).resolve().parent / "templates"
NOT_KNOWN = "—"
# The order in which metrics are read; any other metric follows by name.
METRICS = (
    "roc_auc",
    "gini",
    "ks",
    "average_precision",
    "brier",
    "log_loss",
    "ece",
    "mean_pd",
    "observed_rate",
)
METRIC_TITLES = {
    "roc_auc": "ROC AUC",
    "gini": "Gini",
    "ks": "KS",
    "average_precision": "Average precision",
    "brier": "Brier",
    "log_loss": "Log loss",
    "ece": "ECE",
    "mean_pd": "Mean PD",
    "observed_rate": "Default rate",
}

# --- Pages ----------------------------------------------------------------------------------------


def overview_page(months: Sequence[MonthRow], published: frozenset[str], study: str | None) -> str:
    """The overview of all months.

    Args:
        months: oldest first.
        published: months whose pack lies beside this page.
        study: link to the study's page, if there is one.
    """
    return _render(
        "overview.html.j2",
        sections={"now": "Newest month", "trends": "Trends", "months": "Months"},
        months=months,
        latest=verdict(months[-1]) if months else None,
        published=published,
        study=study,
        trends=_trends(months),
    )


def month_page(facts: MonthFacts, reference: pl.DataFrame | None, evidently: Sequence[EvidentlyPage]) -> str:
    """The month's first page.

    Args:
        reference: the champion's development sample; its `pd` is drawn behind the month's.
        evidently: what came of Evidently's pages.
    """
    return _render(
        "month.html.j2",
        sections={
            "verdict": "Verdict",
            "pages": "Pages",
            "rows": "Rows",
            "scores": "Scores",
            "performance": "Performance",
            "decision": "Retrain or reuse",
            "run": "Run and models",
        },
        facts=facts,
        verdict=verdict(facts.row),
        evidently=evidently,
        histogram=_histogram(facts, reference),
        performance=_performance_tables(facts),
    )


def data_quality_page(facts: MonthFacts) -> str:
    """The readable form of the validation result."""
    return _render(
        "data_quality.html.j2",
        sections={
            "files": "Files",
            "checks": "Expectations",
            "codes": "Undocumented codes",
            "rules": "Quarantine by rule",
            "rows": "Quarantined rows",
        },
        facts=facts,
        checks=_checks_by_file(facts),
        shown=QUARANTINE_ROWS,
    )


def stability_page(facts: MonthFacts) -> str:
    """PSI and CSI on the frozen reference bins, by variable."""
    known = [f for f in facts.drift if f.value is not None]
    return _render(
        "stability.html.j2",
        sections={"summary": "All variables", "table": "Table", "variables": "Variable by variable"},
        facts=facts,
        bars=charts.drift_bars(known) if known else None,
        variables=[_variable(n, f, facts) for n, f in enumerate(facts.drift)],
        meanings=_meanings(),
    )


def unavailable_page(month: str, page: EvidentlyPage) -> str:
    """Stands in for a page of Evidently's that could not be computed, and says why."""
    return _render("unavailable.html.j2", sections={}, month=month, page=page)


# --- What the templates are given -----------------------------------------------------------------


@dataclass(frozen=True)
class Variable:
    """One monitored variable on the stability page."""

    fact: DriftFact
    bins: list[Any]
    chart: Markup | None


@dataclass(frozen=True)
class PerformanceTable:
    """Metrics side by side: one row a model, one column a metric; `reason` where there is none."""

    title: str
    metrics: list[str]
    rows: list[tuple[Metric, dict[str, Metric]]]
    reason: str | None


def _trends(months: Sequence[MonthRow]) -> list[tuple[str, Markup | None, str]]:
    """(title, chart, reason when there is no chart) of the overview's four trends."""
    return [
        (
            "PSI of the score",
            charts.psi_trend(months) if any(m.psi is not None for m in months) else None,
            "no month has been compared with a reference sample yet",
        ),
        (
            "Default rate and mean PD",
            charts.default_trend(months) if any(m.mean_pd is not None for m in months) else None,
            "no month is scored yet: awaiting a first model",
        ),
        (
            "ROC AUC of the champion",
            charts.auc_trend(months) if any(m.auc_realised or m.auc_held_out for m in months) else None,
            "no outcomes are known yet",
        ),
        (
            "Rows received",
            charts.rows_trend(months) if any(m.received for m in months) else None,
            "no file was taken yet",
        ),
    ]


def _histogram(facts: MonthFacts, reference: pl.DataFrame | None) -> Markup | None:
    if not facts.pd_summary.clients:
        return None
    counts = {b.bin: b.clients for b in facts.pd_bins}
    current = [counts.get(b, 0) / facts.pd_summary.clients for b in range(PD_BINS)]
    return charts.pd_histogram(current, _reference_shares(reference))


def _reference_shares(reference: pl.DataFrame | None) -> list[float] | None:
    if reference is None or reference.is_empty():
        return None
    bins = (reference["pd"] * PD_BINS).floor().clip(0, PD_BINS - 1).cast(pl.Int32)
    return [int((bins == b).sum()) / reference.height for b in range(PD_BINS)]


def _performance_tables(facts: MonthFacts) -> list[PerformanceTable]:
    awaiting = "awaiting a first model"
    no_outcomes = f"outcomes for {facts.month} not yet received"
    realised = (
        awaiting if facts.champion is None else "not computed yet" if facts.row.outcomes else no_outcomes
    )
    held_out = awaiting if facts.champion is None else "no held-out metrics are recorded for these models"
    return [
        _performance_table("Realised on the month's own outcomes", facts.metrics_of("realised"), realised),
        _performance_table("Held out when the model was developed", facts.metrics_of("held_out"), held_out),
    ]


def _performance_table(title: str, found: Sequence[Metric], reason: str) -> PerformanceTable:
    by_model: dict[tuple[str, str, str], dict[str, Metric]] = {}
    for metric in found:
        by_model.setdefault((metric.model, metric.version, metric.basis), {})[metric.metric] = metric
    names = {m.metric for m in found}
    ordered = [m for m in METRICS if m in names] + sorted(names - set(METRICS))
    rows = [(next(iter(metrics.values())), metrics) for metrics in by_model.values()]
    return PerformanceTable(title, ordered, rows, None if rows else reason)


def _checks_by_file(facts: MonthFacts) -> list[tuple[Any, dict[str, list[Expectation]]]]:
    """Each file in use with its expectations, grouped by severity in the order of the query."""
    grouped = []
    for file in facts.current_files:
        by_severity: dict[str, list[Expectation]] = {}
        for check in facts.expectations:
            if check.kind == file.kind and check.file_sha256 == file.file_sha256:
                by_severity.setdefault(check.severity, []).append(check)
        grouped.append((file, by_severity))
    return grouped


def _variable(number: int, fact: DriftFact, facts: MonthFacts) -> Variable:
    bins = facts.bins_of(fact.name)
    return Variable(fact, bins, charts.bin_bars(fact.name, number, bins) if bins else None)


def _meanings() -> Mapping[str, str]:
    from creditflow.columns import ATTRIBUTES

    return {"score": "the champion's score", **{a.name: a.meaning for a in ATTRIBUTES}}


# --- Jinja2 ---------------------------------------------------------------------------------------


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values) + "\n"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": count,
        "share": share,
        "figure": figure,
        "size": size,
        "moment": moment,
        "known": known,
    }
    # Ours, not data: the one text that goes in as it stands.
    style = Markup((_TEMPLATES / "pack.css").read_text("utf-8"))  # noqa: S704
    environment.globals |= {
        "style": style,
        "band": band,
        "metric_titles": METRIC_TITLES,
        "release": __version__,
        "code": code_version(),
    }
    return environment


def known(value: Any) -> str:
    """The value as text; a dash where there is none."""
    return NOT_KNOWN if value is None or value == "" else str(value)


def count(value: float | None) -> str:
    """A whole number with thousands separators."""
    return NOT_KNOWN if value is None else f"{value:,.0f}"


def share(value: float | None, digits: int = 2) -> str:
    """A share as a percentage."""
    return NOT_KNOWN if value is None else f"{value:.{digits}%}"


def figure(value: float | None, digits: int = 4) -> str:
    """A statistic with a fixed number of decimals."""
    return NOT_KNOWN if value is None else f"{value:,.{digits}f}"


def size(value: int) -> str:
    """Bytes in the unit that a reader would use."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            return f"{value / scale:,.1f} {unit}"
    return f"{value:,} bytes"


def moment(value: datetime | None) -> str:
    """A stored time, which is UTC."""
    return NOT_KNOWN if value is None else f"{value:%Y-%m-%d %H:%M:%S} UTC"
