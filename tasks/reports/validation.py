"""The validator's page: what was estimated before outcomes, and with them discrimination, calibration, gains,
the policy cut-off, and champion against challengers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
from markupsafe import Markup

from tasks.reports import charts
from tasks.reports.gather import Metric, MonthFacts, records

GRAPHED_MONTHS = 36  # of a trend: three years are what a reader can tell apart
TOPS = (1, 2, 4)  # twentieths: the riskiest 5, 10 and 20 %

# --- Facts ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Statistic:
    """A row of the table `validation`: a figure with its interval, or a test with its p-value."""

    model: str
    version: str
    basis: str
    statistic: str
    value: float | None
    low: float | None
    high: float | None
    test_statistic: float | None
    p_value: float | None
    degrees: int | None
    clients: int
    defaulters: int
    reason: str | None


@dataclass(frozen=True)
class Group:
    """A row of the table `calibration`; p-values are small where more defaulted than the PDs stated."""

    model: str
    version: str
    basis: str
    grouping: str
    position: int
    group_label: str
    clients: int
    defaulters: int
    expected: float
    mean_pd: float
    low_pd: float
    high_pd: float
    default_rate: float
    rate_low: float | None
    rate_high: float | None
    binomial_p: float | None
    jeffreys_p: float | None


@dataclass(frozen=True)
class Comparison:
    """A row of the table `comparisons`; `difference` is the champion's value less the challenger's."""

    model: str
    version: str
    champion: str
    champion_version: str
    statistic: str
    value: float | None
    champion_value: float | None
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    clients: int
    defaulters: int
    reason: str | None

    @property
    def verdict(self) -> str:
        """Which of the two is better, in words; a lower Brier score is the better one."""
        if self.difference is None or self.low is None or self.high is None:
            return self.reason or "not told"
        if self.low <= 0 <= self.high:
            return "no difference that can be told from chance"
        ahead = (self.difference > 0) is (self.statistic == "roc_auc")
        return "the champion is better" if ahead else "the challenger is better"


@dataclass(frozen=True)
class Twentieth:
    """Clients with a known outcome, the riskiest twentieth first."""

    twentieth: int
    clients: int
    defaulters: int
    mean_pd: float
    low_pd: float
    high_pd: float


@dataclass(frozen=True)
class Gain:
    """A tenth of the clients, riskiest first, with what it and all before it hold of the defaulters."""

    tenth: int
    clients: int
    defaulters: int
    mean_pd: float
    default_rate: float
    lift: float | None
    captured: float | None


@dataclass(frozen=True)
class Confusion:
    """Clients with a known outcome by what the cut-off said of them; costs are units of the policy."""

    hits: int
    false_alarms: int
    misses: int
    rejections: int
    missed_default: float
    refused_good: float
    cut_off: float | None

    @property
    def clients(self) -> int:
        return self.hits + self.false_alarms + self.misses + self.rejections

    @property
    def cost(self) -> float:
        return self.missed_default * self.misses + self.refused_good * self.false_alarms

    @property
    def cost_approving_all(self) -> float:
        return self.missed_default * (self.hits + self.misses)

    @property
    def cost_refusing_all(self) -> float:
        return self.refused_good * (self.false_alarms + self.rejections)


@dataclass(frozen=True)
class TrendPoint:
    """Estimate and truth of one metric of one month's champion; the interval is that of the truth."""

    month: str
    model: str
    version: str
    basis: str
    metric: str
    estimated: float | None
    realised: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ValidationFacts:
    statistics: list[Statistic]
    groups: list[Group]
    comparisons: list[Comparison]
    twentieths: list[Twentieth]
    confusion: Confusion | None
    trend: list[TrendPoint]

    def of(self, model: str, version: str) -> dict[str, Statistic]:
        """The statistics of one model by name."""
        return {s.statistic: s for s in self.statistics if (s.model, s.version) == (model, version)}

    def groups_of(self, grouping: str, model: str, version: str) -> list[Group]:
        wanted = (grouping, model, version)
        return [g for g in self.groups if (g.grouping, g.model, g.version) == wanted]


def gather_validation(
    con: duckdb.DuckDBPyConnection, month: str, missed_default: float, refused_good: float
) -> ValidationFacts:
    """What the page tells; the two costs are those of the policy."""
    costs = {"missed_default": missed_default, "refused_good": refused_good}
    return ValidationFacts(
        records(con, "report_validation", Statistic, month=month),
        records(con, "report_calibration", Group, month=month),
        records(con, "report_comparisons", Comparison, month=month),
        records(con, "report_gains", Twentieth, month=month),
        next(iter(records(con, "report_confusion", Confusion, month=month, **costs)), None),
        records(con, "report_realised_trend", TrendPoint, month=month),
    )


def gains(twentieths: Sequence[Twentieth]) -> list[Gain]:
    """The decile table; lift and captured share are None where nobody defaulted."""
    all_clients, all_bad = (sum(getattr(t, name) for t in twentieths) for name in ("clients", "defaulters"))
    found, seen = [], 0
    for tenth in range(1, 11):
        part = [t for t in twentieths if (t.twentieth + 1) // 2 == tenth]
        clients, bad = sum(t.clients for t in part), sum(t.defaulters for t in part)
        if clients:
            seen += bad
            rate = bad / clients
            mean_pd = sum(t.mean_pd * t.clients for t in part) / clients
            lift = rate * all_clients / all_bad if all_bad else None
            found.append(Gain(tenth, clients, bad, mean_pd, rate, lift, seen / all_bad if all_bad else None))
    return found


def lifts(twentieths: Sequence[Twentieth]) -> list[tuple[str, float]]:
    """Lift of the riskiest 5, 10 and 20 %: default rate over everybody's; none where nobody defaulted."""
    all_clients, all_bad = (sum(getattr(t, name) for t in twentieths) for name in ("clients", "defaulters"))
    if not all_bad:
        return []
    found = []
    for top in TOPS:
        part = [t for t in twentieths if t.twentieth <= top]
        rate = sum(t.defaulters for t in part) / sum(t.clients for t in part)
        found.append((f"{5 * top} %", rate * all_clients / all_bad))
    return found


# --- Page -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PerformanceTable:
    """Metrics side by side: one row a model, one column a metric; `reason` where there is none."""

    title: str
    metrics: list[str]
    rows: list[tuple[Metric, dict[str, Metric]]]
    reason: str | None


def validation_page(facts: MonthFacts, found: ValidationFacts) -> str:
    """The page `validation.html`."""
    from tasks.reports.pages import render

    champion = facts.champion
    key = (champion.model, champion.version) if champion else ("", "")
    estimated, realised, held_out = performance_tables(facts)
    tenths = found.groups_of("tenth", *key)
    return render(
        "validation.html.j2",
        sections={
            "before": "Before outcomes",
            "discrimination": "Discrimination",
            "calibration": "Calibration",
            "gains": "Gains",
            "cut-off": "Policy cut-off",
            "challengers": "Champion and challengers",
        },
        facts=facts,
        found=found,
        own=found.of(*key),
        grades=found.groups_of("grade", *key),
        tenths=tenths,
        estimated=estimated,
        realised=realised,
        held_out=held_out,
        awaiting=awaiting(facts),
        trend=_auc_points(found.trend),
        trend_chart=_trend_chart(found.trend),
        reliability=charts.reliability_curve(tenths) if tenths else None,
        gains=gains(found.twentieths),
        lifts=lifts(found.twentieths),
        gains_chart=_gains_chart(found.twentieths),
    )


def awaiting(facts: MonthFacts) -> str | None:
    """Why nothing can be said of the month's outcomes; None where something can."""
    if facts.champion is None:
        return "Not available: awaiting a first model."
    if not facts.row.outcomes:
        return f"Not available: outcomes for {facts.month} not yet received."
    if not facts.outcomes.outcomes:
        return f"Not available: no outcome for {facts.month} is of a scored client."
    return None


def _auc_points(trend: Sequence[TrendPoint]) -> list[tuple[TrendPoint, dict[str, TrendPoint]]]:
    """Each month's AUC with its other metrics, newest first."""
    by_month: dict[str, dict[str, TrendPoint]] = {}
    for point in trend:
        by_month.setdefault(point.month, {})[point.metric] = point
    return [(m["roc_auc"], m) for _, m in sorted(by_month.items(), reverse=True) if "roc_auc" in m]


def _trend_chart(trend: Sequence[TrendPoint]) -> Markup | None:
    points = [p for p in trend if p.metric == "roc_auc"][-GRAPHED_MONTHS:]
    known = [p for p in points if p.realised is not None or p.estimated is not None]
    return charts.estimate_trend(known) if known else None


def _gains_chart(twentieths: Sequence[Twentieth]) -> Markup | None:
    return charts.gains_curve(twentieths) if any(t.defaulters for t in twentieths) else None


def performance_tables(facts: MonthFacts) -> tuple[PerformanceTable, PerformanceTable, PerformanceTable]:
    """Estimated, realised and held-out metrics of all models."""
    none_yet = "awaiting a first model"
    no_outcomes = f"outcomes for {facts.month} not yet received"
    realised = (
        none_yet if facts.champion is None else "not computed yet" if facts.row.outcomes else no_outcomes
    )
    held_out = none_yet if facts.champion is None else "no held-out metrics are recorded for these models"
    estimated = none_yet if facts.champion is None else "not computed yet"
    return (
        _performance_table(
            "Estimated from the PDs: what outcomes would show where the PDs are right, and not the truth",
            # Calibration is taken for granted: its column would hold the same reason for every model.
            [m for m in facts.metrics_of("estimated") if m.metric != "ece"],
            estimated,
        ),
        _performance_table("Realised on the month's own outcomes", facts.metrics_of("realised"), realised),
        _performance_table("Held out when the model was developed", facts.metrics_of("held_out"), held_out),
    )


def _performance_table(title: str, found: Sequence[Metric], reason: str) -> PerformanceTable:
    from tasks.reports.pages import METRICS

    by_model: dict[tuple[str, str, str], dict[str, Metric]] = {}
    for metric in found:
        by_model.setdefault((metric.model, metric.version, metric.basis), {})[metric.metric] = metric
    names = {m.metric for m in found}
    ordered = [m for m in METRICS if m in names] + sorted(names - set(METRICS))
    rows: list[tuple[Metric, dict[str, Any]]] = [
        (next(iter(metrics.values())), metrics) for metrics in by_model.values()
    ]
    return PerformanceTable(title, ordered, rows, None if rows else reason)
