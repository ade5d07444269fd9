"""Our own pages: facts in, one self-contained HTML text out. Nothing here reads or writes anything.

Every text reaches the page through Jinja2 with autoescape on, so a client ID that is markup is only text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from rich.filesize import decimal

from creditflow import __version__
from creditflow.version import code_version
from sql.library import printed
from tasks.reports import card_words, charts
from tasks.reports.cards import (
    MODELS_FOLDER,
    REASONS,
    Artifact,
    Card,
    ModelSet,
    Realised,
    ReasonText,
    card_path,
)
from tasks.reports.evidently_pages import EvidentlyPage
from tasks.reports.gather import (
    QUARANTINE_ROWS,
    AlertFact,
    DriftFact,
    Expectation,
    GateCheck,
    MonthFacts,
    MonthRow,
    PsiPoint,
    about,
)
from tasks.reports.reasons import SYMBOLS, column_meaning
from tasks.reports.templating import TEMPLATES, strict_environment
from tasks.reports.verdict import Finding, band, changes, gate_verdict, verdict

REASONS_LIST = f"{MODELS_FOLDER}/{REASONS}"
NOT_KNOWN = "—"
# What a risk team looks for and these data cannot give.
NOT_AVAILABLE = (
    ("Vintages by origination", "the client files hold no date on which an account was opened"),
    ("Overrides", "decisions are taken outside creditflow, and none is reported back"),
    (
        "Losses and recoveries",
        "the files hold none: the expected loss rests on a stated loss given default",
    ),
    ("Exposure at default", "the newest bill stands in for it; undrawn credit is not converted"),
    (
        "Refused applicants",
        "only clients with an account are in the files; nothing is said of others",
    ),
    ("Default horizons beyond a month", "an outcome tells of the month that follows, and of no later one"),
)
MOVED_BINS = 10
TREND_MONTHS = 12
MONTHS_ON_PAPER, CHANGES_ON_PAPER = 6, 4  # a card is one sheet; the screen shows all
# The order in which metrics are read; any other metric follows by name.
METRICS = (
    "roc_auc",
    "roc_auc_sd",
    "gini",
    "ks",
    "average_precision",
    "brier",
    "log_loss",
    "ece",
    "mean_pd",
    "observed_rate",
)
CARD_METRICS = ("roc_auc", "ks", "average_precision", "brier", "ece", "mean_pd", "observed_rate")
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
    "roc_auc_sd": "ROC AUC ±",
}

# --- Pages ----------------------------------------------------------------------------------------


def overview_page(
    months: Sequence[MonthRow],
    published: frozenset[str],
    study: str | None,
    models: str | None = None,
    alerts: Mapping[str, Sequence[AlertFact]] | None = None,
) -> str:
    """The overview of all months.

    Args:
        months: oldest first.
        published: months whose pack lies beside this page.
        study: link to the study's page, if there is one.
        models: link to the index of models, if there is one.
        alerts: every month's alert rules; a month without any was not evaluated.
    """
    known = alerts or {}
    verdicts = {
        row.month: verdict(row, [*known.get(row.month, ()), *about(row.month, known)]) for row in months
    }
    return render(
        "overview.html.j2",
        sections={"now": "Newest month", "trends": "Trends", "months": "Months"},
        months=months,
        latest=verdicts[months[-1].month] if months else None,
        verdicts=verdicts,
        published=published,
        study=study,
        models=models,
        alerts=alerts or {},
        elsewhere=_raised_elsewhere(months, alerts or {}),
        trends=_trends(months),
    )


def month_page(
    facts: MonthFacts,
    before: MonthRow | None,
    histogram: Markup | None,
    evidently: Sequence[EvidentlyPage],
    cards: frozenset[str] = frozenset(),
) -> str:
    """The month's first page.

    Args:
        before: the newest earlier month's line of the overview.
        histogram: the month's PDs, drawn.
        evidently: what came of Evidently's pages.
        cards: paths of the model cards that lie beside the pack, as in `cards.card_path`.
    """
    return render(
        "month.html.j2",
        sections={
            "alerts": "Alerts",
            "verdict": "Verdict",
            "changes": "What changed",
            "pages": "Pages",
            "rows": "Rows",
            "scores": "Scores",
            "decision": "Retrain or reuse",
            "run": "Run and models",
            "missing": "Not available",
        },
        facts=facts,
        verdict=verdict(facts.row, [*facts.alerts, *facts.later_alerts]),
        run=facts.runs[-1] if facts.runs else None,
        before=before,
        changes=changes(before, facts.row) if before else [],
        evidently=evidently,
        histogram=histogram,
        cards=cards,
        card_path=card_path,
        gates=_gates(facts),
        no_gate=_no_gate(facts),
        missing=NOT_AVAILABLE,
    )


def _raised_elsewhere(
    months: Sequence[MonthRow], alerts: Mapping[str, Sequence[AlertFact]]
) -> dict[str, list[AlertFact]]:
    """Raised alerts of all months but the newest one on the page, newest month first."""
    newest = months[-1].month if months else None
    raised = {month: [a for a in found if a.state == "raised"] for month, found in alerts.items()}
    return {
        month: raised[month] for month in sorted(raised, reverse=True) if raised[month] and month != newest
    }


def data_quality_page(facts: MonthFacts) -> str:
    """The readable form of the validation result."""
    return render(
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


def stability_page(facts: MonthFacts, trend: Sequence[PsiPoint] = ()) -> str:
    """PSI and CSI on the frozen reference bins, by variable, and over the months up to this one."""
    known = [f for f in facts.drift if f.value is not None]
    return render(
        "stability.html.j2",
        sections={
            "summary": "All variables",
            "trend": "Trend",
            "table": "Table",
            "moved": "Bins that moved",
            "variables": "Variable by variable",
        },
        trend=_psi_table(trend),
        moved=sorted(facts.drift_bins, key=lambda b: (-b.contribution, b.name, b.bin))[:MOVED_BINS],
        facts=facts,
        bars=charts.drift_bars(known) if known else None,
        variables=[_variable(n, f, facts) for n, f in enumerate(facts.drift)],
        meanings=_meanings(),
    )


@dataclass(frozen=True)
class PsiTable:
    """The newest months side by side: one row a variable, its index in each month or None."""

    months: list[str]
    rows: list[tuple[str, list[float | None]]]


def _psi_table(trend: Sequence[PsiPoint]) -> PsiTable | None:
    """The variables by their newest index, the score on top; None without a month."""
    months = sorted({p.month for p in trend})[-TREND_MONTHS:]
    found = {(p.name, p.month): p.value for p in trend}
    names = sorted(
        {p.name for p in trend if p.month in months},
        key=lambda n: (n != "score", -(found.get((n, months[-1])) or 0), n),
    )
    rows = [(name, [found.get((name, month)) for month in months]) for name in names]
    return PsiTable(months, rows) if rows else None


def card_page(card: Card, artifact: Artifact, made_from: str) -> str:
    """One model's card: one page of A4 when it is printed.

    Args:
        made_from: digest of what the card tells, kept in its head.
    """
    return render(
        "card.html.j2",
        sections={},
        card=card,
        artifact=artifact,
        made_from=made_from,
        title=_model_title(card.model.model),
        words=card_words,
        metrics=CARD_METRICS,
        months=_newest_first(card.realised),
        gate=gate_verdict(card.gate, card.promotions),
        on_paper=MONTHS_ON_PAPER,
        changes_on_paper=CHANGES_ON_PAPER,
        unread=f"not readable: {artifact.problem}" if artifact.problem else None,
    )


def models_page(sets: Sequence[ModelSet]) -> str:
    """The index of all registered sets, newest first."""
    return render(
        "models.html.j2", sections={}, sets=sets, words=card_words, gate_of=_gate_of, title_of=_model_title
    )


def reasons_page(texts: Sequence[ReasonText]) -> str:
    """The list of reasons that a score may be given."""
    return render("reasons.html.j2", sections={}, texts=texts)


def unavailable_page(month: str, page: EvidentlyPage) -> str:
    """Stands in for a page of Evidently's that could not be computed, and says why."""
    return render("unavailable.html.j2", sections={}, month=month, page=page)


# --- What the templates are given -----------------------------------------------------------------


@dataclass(frozen=True)
class Variable:
    """One monitored variable on the stability page."""

    fact: DriftFact
    bins: list[Any]
    chart: Markup | None


def _gates(facts: MonthFacts) -> list[tuple[Finding | None, list[GateCheck]]]:
    """The verdict and the checks of each challenger of the month."""
    challengers = list(dict.fromkeys((c.model, c.version) for c in facts.gate))
    judged = [[c for c in facts.gate if (c.model, c.version) == key] for key in challengers]
    return [(gate_verdict(checks, facts.promotions), checks) for checks in judged]


def _gate_of(card: Card) -> Finding | None:
    return gate_verdict(card.gate, card.promotions)


def _no_gate(facts: MonthFacts) -> str:
    """Why there is no check of a gate."""
    decision = facts.decision
    if decision is None:
        return "No challenger was judged: the month has not come that far."
    return {
        "wait": "No challenger was judged: there is nothing yet that a model could be developed on.",
        "reuse": "No challenger was judged: no new set was developed, and the champion stays.",
    }.get(decision.verdict, "No check of the gate is recorded for the set that was developed.")


def _newest_first(months: Sequence[Realised]) -> list[Realised]:
    return list(reversed(months))


def _model_title(name: str) -> str:
    from models.registry import MODELS

    return MODELS[name].title if name in MODELS else name


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


def render(template: str, **values: Any) -> str:
    """The page that a template makes of its values, ended by a line break."""
    return environment().get_template(template).render(**values) + "\n"


@cache
def environment(*folders: Path) -> Environment:
    """Templates of the report pack, and of `folders` before them, with the filters that all pages share."""
    environment = strict_environment(*folders)
    environment.filters |= {
        "count": count,
        "share": share,
        "figure": figure,
        "size": decimal,
        "moment": moment,
        "known": known,
        "signed": signed,
        "spoken": spoken,
        "cut_off": cut_off,
        "plain": plain,
        "sentence": sentence,
    }
    # Ours, not data: the only texts that go in as they stand.
    style, card_style = (Markup((TEMPLATES / f"{name}.css").read_text("utf-8")) for name in ("pack", "card"))  # noqa: S704
    environment.globals |= {
        "style": style,
        "card_style": card_style,
        "script": Markup("".join((TEMPLATES / f"{n}.js").read_text("utf-8") for n in ("sortable", "page"))),  # noqa: S704
        "band": band,
        "metric_titles": METRIC_TITLES,
        "column_meaning": column_meaning,
        "symbols": SYMBOLS,
        "printed": printed,
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


def signed(value: float | None, digits: int = 2) -> str:
    """A difference with its sign."""
    return NOT_KNOWN if value is None else f"{value:+,.{digits}f}".replace("-", "−")


def spoken(name: str) -> str:
    """A name of the code as words."""
    return name.replace("_", " ")


def plain(value: float) -> str:
    """A number without trailing zeros."""
    return f"{value:,g}"


def sentence(text: str) -> str:
    """The text with a capital at its head and a full stop at its end."""
    stopped = text if text.endswith((".", "!", "?")) else f"{text}."
    return stopped[:1].upper() + stopped[1:]


def cut_off(value: float | None) -> str:
    """The PD from which a client is flagged; one that no PD reaches flags nobody."""
    if value is None:
        return NOT_KNOWN
    return "above 100%: nobody" if value > 1 else f"{value:.2%}"


def moment(value: datetime | None) -> str:
    """A stored time, which is UTC."""
    return NOT_KNOWN if value is None else f"{value:%Y-%m-%d %H:%M:%S} UTC"
