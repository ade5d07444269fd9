"""Evaluates the alert rules for a run and keeps what they found; `tasks.notify` tells of it.

The rules are `expectations/alerts.toml`, which a risk analyst can edit. Evaluation is pure: facts are
gathered first, then each rule is held against them. No client's data reaches a message: counts, shares,
figures, months, and names of columns, rules and models.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import NormalDist
from typing import Any, Literal

import duckdb

from creditflow.month import Month
from expectations.alerting import OVERDUE, RUN_FAILED, AlertRule, load_alert_rules
from sql.warehouse import execute, frame, open_warehouse, transaction
from tasks.decide import DECAY_CLIENTS_MIN
from tasks.home import Home
from tasks.ledger import new_run_id, now, readable
from tasks.options import Alerting
from tasks.plan import CODE_CHANGED, EARLIER_VERSION, stale_months
from tasks.schedule import Overdue, overdue_months
from tasks.stage import Run, stage

Severity = Literal["critical", "warning", "info"]
State = Literal["raised", "clear", "not run"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")


@dataclass(frozen=True)
class Alert:
    """One rule as a run evaluated it. `message` and `remedy` are sentences for a reader."""

    rule: str
    severity: Severity
    state: State
    about_month: Month | None
    value: float | None
    threshold: float | None
    message: str
    remedy: str
    position: int = 0


@dataclass(frozen=True)
class Alerted:
    """Every rule in the order of the file."""

    alerts: tuple[Alert, ...] = ()

    @property
    def raised(self) -> tuple[Alert, ...]:
        return tuple(alert for alert in self.alerts if alert.state == "raised")

    @property
    def critical(self) -> tuple[Alert, ...]:
        return tuple(alert for alert in self.raised if alert.severity == "critical")


@dataclass(frozen=True)
class Stored:
    """An alert with the run that found it; `told` as in the table `alerts`."""

    run_id: str
    month: Month
    alert: Alert
    evaluated_at: datetime
    told: str | None = None


@stage("alert")
def alert(run: Run) -> Alerted:
    """Evaluates every rule for the run's month and stores the result, replacing nothing of earlier runs.

    Raises:
        SuiteInvalid: the file of rules cannot be applied.
    """
    rules = load_alert_rules(run.alerting.rules)
    facts = _gather(run, {rule.rule for rule in rules})
    found = evaluate(rules, facts)
    _store(run.home, run.run_id, run.month, found)
    return Alerted(found)


def alert_failed(run: Run, error: BaseException) -> Alerted:
    """Stores that a run was refused or failed; nothing where the file of rules has no `run_failed`.

    The error's own text may quote a client's row, so it stays in the ledger.
    """
    rules = [rule for rule in load_alert_rules(run.alerting.rules) if rule.rule == RUN_FAILED]
    found = evaluate(rules, Facts(run.month, failed=type(error).__name__))
    _store(run.home, run.run_id, run.month, found)
    return Alerted(found)


def alert_overdue(home: Home, alerting: Alerting, overdue: Sequence[Overdue]) -> Alerted:
    """Stores, under each month whose client file has not come, that it is overdue.

    For a look of the schedule, which may have no month to run. The caller holds the lock.
    """
    rules = [rule for rule in load_alert_rules(alerting.rules) if rule.rule == OVERDUE]
    look = f"look-{new_run_id()}"
    found: list[Alert] = []
    for late in overdue:
        alerts = evaluate(rules, Facts(late.month, overdue=(late,)))
        _store(home, look, late.month, alerts)
        found += alerts
    return Alerted(tuple(found))


# ── Facts ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Drift:
    """PSI of the score or CSI of an attribute; `reason` where there is no value."""

    name: str
    statistic: str
    value: float | None
    reason: str | None


@dataclass(frozen=True)
class FileRows:
    """Rows of an accepted file."""

    kind: str
    month: str
    received: int
    quarantined: int

    @property
    def share(self) -> float:
        return self.quarantined / self.received if self.received else 0.0


@dataclass(frozen=True)
class Expectations:
    """Expectations of severity warning on the client file, and the rules of those that failed."""

    expectations: int
    failed: int
    rules: list[str]


@dataclass(frozen=True)
class Realised:
    """The champion in the newest month that it scored live and whose outcomes are known.

    `expected` is the sum of its PDs and `variance` that of PD (1 - PD), over clients with an outcome.
    """

    month: str
    model: str
    version: str
    auc: float | None
    auc_held_out: float | None
    reason: str | None
    clients: int
    defaulters: int
    expected: float
    variance: float
    held_out_clients: int | None
    held_out_defaulters: int | None


@dataclass(frozen=True)
class Gate:
    """What the promotion gate said of a challenger, and its checks that failed or were not evaluated."""

    model: str
    version: str
    champion: str | None
    champion_version: str | None
    failed: list[str] | None
    unknown: list[str] | None
    promoted: bool


@dataclass(frozen=True)
class Decided:
    """What the month's decision came to; `unusable` is None where there was no champion to look at."""

    verdict: str
    failed: bool
    unusable: bool | None
    usability: str | None


@dataclass(frozen=True)
class Facts:
    """All that the rules look at.

    Args:
        failed: the kind of error that ended the run; None where it came to its alerts.
        overdue: months whose file has not come, or why nobody looked.
        stale: months and why each is stale, or why nobody looked.
    """

    month: Month
    failed: str | None = None
    drift: tuple[Drift, ...] = ()
    files: tuple[FileRows, ...] = ()
    expectations: Expectations | None = None
    realised: Realised | None = None
    gate: Gate | None = None
    decided: Decided | None = None
    overdue: tuple[Overdue, ...] | str = ()
    stale: Mapping[Month, str] | str = field(default_factory=dict)

    def of(self, statistic: str) -> list[Drift]:
        return [drift for drift in self.drift if drift.statistic == statistic]


def _gather(run: Run, wanted: set[str]) -> Facts:
    # Before the warehouse is opened here: both open it on their own terms.
    overdue = _overdue(run) if OVERDUE in wanted else ()
    stale = _stale(run) if "stale_months" in wanted else {}
    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con:
        return _facts(con, run.month, overdue, stale)


def _facts(
    con: duckdb.DuckDBPyConnection,
    month: Month,
    overdue: tuple[Overdue, ...] | str = (),
    stale: Mapping[Month, str] | str = "nobody looked",
) -> Facts:
    def rows(name: str) -> list[dict[str, Any]]:
        return frame(con, name, month=str(month)).to_dicts()

    def one(name: str) -> dict[str, Any] | None:
        return next(iter(rows(name)), None)

    expectations, gate, decided = map(one, ("alert_expectations", "alert_gate", "alert_decision"))
    return Facts(
        month,
        drift=tuple(Drift(**row) for row in rows("alert_drift")),
        files=tuple(FileRows(**row) for row in rows("alert_files")),
        expectations=Expectations(**expectations) if expectations else None,
        realised=_realised(con, one("alert_realised")),
        gate=Gate(**gate) if gate else None,
        decided=Decided(**decided) if decided else None,
        overdue=overdue,
        stale=stale,
    )


def _realised(con: duckdb.DuckDBPyConnection, found: dict[str, Any] | None) -> Realised | None:
    if found is None:
        return None
    (sums,) = frame(con, "alert_realised_sums", month=found["month"]).to_dicts()
    return Realised(**found, **sums)


def _overdue(run: Run) -> tuple[Overdue, ...] | str:
    if run.command != "schedule":
        return "a backfill was asked for" if run.command == "backfill" else "the run was asked for by hand"
    if run.alerting.clock is None:
        return "no schedule is set"
    return tuple(overdue_months(run.home, run.alerting.clock, datetime.now(UTC)))


def _stale(run: Run) -> Mapping[Month, str]:
    """Stale months before the run's own: it makes its own anew, and later ones follow from it.

    An upgrade alone is no alert: every month would be one until a person rebuilds years of scores.
    """
    found = stale_months(run.home, run.options, figures_only=True)
    upgraded = {CODE_CHANGED, EARLIER_VERSION}
    return {m: why for m, why in sorted(found.items()) if m < run.month and why not in upgraded}


# ── The rules ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Finding:
    """What one rule found."""

    state: State
    message: str
    value: float | None = None
    about: Month | None = None


def evaluate(rules: Sequence[AlertRule], facts: Facts) -> tuple[Alert, ...]:
    """Each rule held against the facts, in the order of the rules."""
    return tuple(_alert(rule, _EVALUATE[rule.rule](rule, facts)) for rule in rules)


def _alert(rule: AlertRule, found: Finding) -> Alert:
    message = f"{found.message} {rule.meaning}" if found.state == "raised" else found.message
    about, value = found.about, found.value
    return Alert(
        rule.rule,
        rule.severity,
        found.state,
        about,
        value,
        rule.threshold,
        message,
        rule.remedy,
        rule.position,
    )


def _not_run(reason: str, about: Month | None = None) -> Finding:
    return Finding("not run", f"{reason[:1].upper()}{reason[1:].rstrip('.')}.", about=about)


def _beyond(value: float, limit: float) -> State:
    return "raised" if value > limit else "clear"


def _held(value: float, limit: float, text: str, form: str) -> str:
    side = "above" if value > limit else "not above"
    return f"{text} {value:{form}}, {side} {limit:{form}}."


def _run_failed(_rule: AlertRule, facts: Facts) -> Finding:
    if facts.failed is None:
        return Finding("clear", "The run came to its end.", about=facts.month)
    return Finding("raised", f"The run of {facts.month} ended with {facts.failed}.", about=facts.month)


def _score_drift(rule: AlertRule, facts: Facts) -> Finding:
    scores = facts.of("psi")
    if not scores:
        return _not_run(f"{facts.month} is not scored: awaiting a first model", facts.month)
    score = scores[0]
    if score.value is None:
        return _not_run(score.reason or "the PSI could not be computed", facts.month)
    text = _held(score.value, rule.limit, "The PSI of the score is", ".3f")
    return Finding(_beyond(score.value, rule.limit), text, score.value, facts.month)


def _attribute_drift(rule: AlertRule, facts: Facts) -> Finding:
    attributes = facts.of("csi")
    known = {drift.name: drift.value for drift in attributes if drift.value is not None}
    if not known:
        reasons = [drift.reason for drift in attributes if drift.reason]
        return _not_run(reasons[0] if reasons else f"{facts.month} is not scored", facts.month)
    moved = [f"{name} {value:.3f}" for name, value in known.items() if value > rule.limit]
    largest = max(known.values())
    if not moved:
        text = f"The largest CSI of {len(known)} attributes is {largest:.3f}, not above {rule.limit:.3f}."
        return Finding("clear", text, largest, facts.month)
    text = f"{len(moved)} of {len(known)} attributes have a CSI above {rule.limit:.3f}: {', '.join(moved)}."
    return Finding("raised", text, largest, facts.month)


def _quarantine_share(rule: AlertRule, facts: Facts) -> Finding:
    if not facts.files:
        return _not_run(f"no file of {facts.month} was taken")
    worst = max(facts.files, key=lambda file: file.share)
    counted = f"Of {worst.received:,} rows of the {worst.kind} of {worst.month}, {worst.quarantined:,}"
    text = _held(worst.share, rule.limit, f"{counted} were set aside:", ".2%")
    return Finding(_beyond(worst.share, rule.limit), text, worst.share, Month.parse(worst.month))


def _failed_expectations(rule: AlertRule, facts: Facts) -> Finding:
    found = facts.expectations
    if found is None or not found.expectations:
        return _not_run("no expectation of severity warning was evaluated", facts.month)
    text = f"{found.failed} of {found.expectations} expectations of severity warning failed"
    named = f": {', '.join(found.rules)}." if found.rules else "."
    return Finding(_beyond(found.failed, rule.limit), text + named, float(found.failed), facts.month)


def _overdue_file(_rule: AlertRule, facts: Facts) -> Finding:
    if isinstance(facts.overdue, str):
        return _not_run(facts.overdue)
    if not facts.overdue:
        return Finding("clear", "Every client file that the schedule has asked for has come.", 0.0)
    late = [f"{o.month} (expected by {o.expected_by:%Y-%m-%d %H:%M} UTC)" for o in facts.overdue]
    text = f"The client file of {', '.join(late)} has not come."
    return Finding("raised", text, float(len(late)), facts.overdue[0].month)


def _auc_decay(rule: AlertRule, facts: Facts) -> Finding:
    found = facts.realised
    if found is None:
        return _not_run(NO_OUTCOMES)
    about = Month.parse(found.month)
    sides = {
        found.month: (found.clients, found.defaulters),
        "the held-out sample": (found.held_out_clients, found.held_out_defaulters),
    }
    for side, (clients, defaulters) in sides.items():
        if clients is None or defaulters is None:
            return _not_run(f"{side} is not on record", about)
        if min(defaulters, clients - defaulters) < DECAY_CLIENTS_MIN:
            counted = f"{side} has {defaulters:,} defaulters among {clients:,} clients"
            return _not_run(f"{counted}, and {DECAY_CLIENTS_MIN} of each class are needed", about)
    if found.auc is None or found.auc_held_out is None:
        return _not_run(found.reason or "the ROC AUC could not be computed", about)
    fall = found.auc_held_out - found.auc
    named = f"ROC AUC of {found.model} {found.version} in {found.month}"
    text = f"{named} is {found.auc:.4f}, held out {found.auc_held_out:.4f}; the fall is"
    return Finding(_beyond(fall, rule.limit), _held(fall, rule.limit, text, ".4f"), fall, about)


def _calibration(rule: AlertRule, facts: Facts) -> Finding:
    found = facts.realised
    if found is None:
        return _not_run(NO_OUTCOMES)
    about = Month.parse(found.month)
    if not found.clients or found.variance <= 0:
        return _not_run(f"the PDs of {found.month} leave nothing to chance", about)
    gap = (found.defaulters - found.expected) / found.clients
    z, limit = z_of(found), chance_limit(rule.significance or 0.0)
    raised = abs(gap) > rule.limit and abs(z) > limit
    rates = (
        f"{found.defaulters / found.clients:.2%} against a mean PD of {found.expected / found.clients:.2%}"
    )
    beyond = f"{'above' if abs(gap) > rule.limit else 'not above'} {rule.limit:.2%}"
    chance = f"z {z:+.2f}, {'beyond' if abs(z) > limit else 'within'} ±{limit:.2f}"
    text = f"Default rate of {found.month} {rates}: off by {abs(gap):.2%}, {beyond}; {chance}."
    return Finding("raised" if raised else "clear", text, abs(gap), about)


def z_of(found: Realised) -> float:
    """Defaulters less expected ones in standard deviations: the normal approximation of a sum of independent
    defaults with the given PDs (Basel Committee, Working Paper 14, 2005, "normal test" of one period)."""
    return (found.defaulters - found.expected) / found.variance**0.5


def chance_limit(significance: float) -> float:
    """The two-sided limit of a standard normal variable."""
    return NormalDist().inv_cdf(1 - significance / 2)


def _gate_refused(_rule: AlertRule, facts: Facts) -> Finding:
    found = facts.gate
    if found is None:
        return _not_run(f"no challenger was judged in {facts.month}", facts.month)
    challenger = f"{found.model} {found.version}"
    if found.promoted:
        return Finding("clear", f"The gate promoted {challenger}.", about=facts.month)
    champion = f"{found.champion} {found.champion_version}" if found.champion else "any champion"
    text = f"{challenger} did not replace {champion}{_listed('failed', found.failed)}"
    text += _listed("could not be evaluated", found.unknown)
    return Finding("raised", f"{text}.", about=facts.month)


def _listed(what: str, checks: Sequence[str] | None) -> str:
    return f"; {what}: {', '.join(name.replace('_', ' ') for name in checks)}" if checks else ""


def _training_failed(_rule: AlertRule, facts: Facts) -> Finding:
    if facts.decided is None:
        return _not_run(f"{facts.month} has no decision", facts.month)
    if facts.decided.failed:
        return Finding("raised", f"The retraining of {facts.month} failed.", about=facts.month)
    if facts.decided.verdict != "retrain":
        return _not_run(f"no retraining was due in {facts.month}", facts.month)
    return Finding("clear", f"The retraining of {facts.month} was carried out.", about=facts.month)


def _champion_unusable(_rule: AlertRule, facts: Facts) -> Finding:
    if facts.decided is None:
        return _not_run(f"{facts.month} has no decision", facts.month)
    if facts.decided.unusable is None:
        return _not_run("there was no champion to look at", facts.month)
    if facts.decided.unusable:
        return Finding("raised", f"The champion could not be used in {facts.month}.", about=facts.month)
    return Finding("clear", "The champion could be used.", about=facts.month)


def _stale_months(rule: AlertRule, facts: Facts) -> Finding:
    if isinstance(facts.stale, str):
        return _not_run(facts.stale)
    months = sorted(facts.stale)
    if not months:
        return Finding("clear", "No earlier month is stale.", 0.0)
    named = ", ".join(map(str, months[:6])) + (f" and {len(months) - 6} more" if len(months) > 6 else "")
    text = f"{len(months)} earlier month{' is' if len(months) == 1 else 's are'} stale: {named}."
    return Finding(_beyond(len(months), rule.limit), text, float(len(months)), months[0])


NO_OUTCOMES = "no outcome is known of a month that its champion scored live"
_EVALUATE: Mapping[str, Callable[[AlertRule, Facts], Finding]] = {
    RUN_FAILED: _run_failed,
    "score_drift": _score_drift,
    "attribute_drift": _attribute_drift,
    "quarantine_share": _quarantine_share,
    "failed_expectations": _failed_expectations,
    OVERDUE: _overdue_file,
    "auc_decay": _auc_decay,
    "calibration": _calibration,
    "gate_refused": _gate_refused,
    "training_failed": _training_failed,
    "champion_unusable": _champion_unusable,
    "stale_months": _stale_months,
}


# ── Keeping ─────────────────────────────────────────────────────────────────────────────────────


def _store(home: Home, run_id: str, month: Month, alerts: Sequence[Alert]) -> None:
    with open_warehouse(home.warehouse) as con, transaction(con):
        # A stage that is tried again finds what it had stored.
        execute(con, "delete_alerts", run_id=run_id, month=str(month))
        for found in alerts:
            execute(
                con,
                "insert_alert",
                **(vars(found) | {"about_month": str(found.about_month) if found.about_month else None}),
                run_id=run_id,
                month=str(month),
                evaluated_at=now(),
            )


def read_alerts(con: duckdb.DuckDBPyConnection, name: str, **values: Any) -> list[Stored]:
    """The rows of `sql/queries/NAME.sql`, which gives the columns of the table `alerts`."""
    return [_stored(row) for row in frame(con, name, **values).to_dicts()]


def _stored(row: dict[str, Any]) -> Stored:
    about = Month.parse(row.pop("about_month")) if row["about_month"] else row.pop("about_month")
    own = {name: row.pop(name) for name in ("run_id", "evaluated_at", "told")}
    month = Month.parse(row.pop("month"))
    return Stored(month=month, alert=Alert(**row, about_month=about), **own)


def current_alerts(home: Home, month: Month | None = None) -> list[Stored]:
    """Every rule as the newest run of its month found it: newest month first, raised ones first, by severity.

    Empty where nothing was ever run.
    """
    if not home.warehouse.is_file():
        return []
    with readable(home) as con:
        return read_alerts(con, "current_alerts", month=str(month) if month else None)


def raised_now(home: Home, months: Sequence[Month]) -> list[Stored]:
    """What is raised in these months, newest first, whether a run has just found it or an earlier one."""
    return [s for s in current_alerts(home) if s.alert.state == "raised" and s.month in months]


def not_sent(home: Home, alerts: Sequence[Stored]) -> list[tuple[str, str]]:
    """The receivers that these alerts could not be sent to, each with the reason."""
    runs = sorted({stored.run_id for stored in alerts if stored.told == "failed"})
    if not runs:
        return []
    with readable(home) as con:
        return [(receiver, reason) for receiver, reason in execute(con, "alert_failures", runs=runs)]
