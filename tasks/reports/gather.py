"""What the pages tell of a month, read from the warehouse into small frozen records.

Every figure is aggregated by DuckDB (`sql/queries/report_*.sql`), so memory does not grow with the
portfolio. Only counts, shares, at most `QUARANTINE_ROWS` quarantined rows and seeded samples leave it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import duckdb
import polars as pl

from creditflow.month import Month
from sql.library import query
from tasks.reports.reasons import Reason, Unusual, with_reasons

QUARANTINE_ROWS = 200
UNUSUAL_COLUMNS = 10
PD_BINS = 40
MODERATE, SIGNIFICANT = 0.10, 0.25  # the industry's bands of PSI and CSI

Record = TypeVar("Record")

# --- Records -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MonthRow:
    """A month's line of the overview; None where a figure does not exist yet.

    `moved` names the attributes with a CSI of 0.25 or more, most moved first; `by_hand` tells in a
    sentence each change of champion that a person made, and that a month was scored as of now.
    """

    month: str
    received: int | None
    accepted: int | None
    quarantined: int | None
    champion: str | None
    version: str | None
    basis: str | None
    scored: int | None
    mean_pd: float | None
    outcomes: int | None
    defaulters: int | None
    default_rate: float | None
    auc_held_out: float | None
    auc_estimated: float | None
    auc_realised: float | None
    psi: float | None
    psi_band: str | None
    psi_reason: str | None
    csi_known: int | None
    moved: list[str]
    checks: int
    checks_failed: int
    checks_noted: int
    checks_not_run: int
    run_status: str | None
    run_message: str | None
    by_hand: list[str]

    @property
    def status(self) -> str:
        """Where the month stands, from what is stored rather than from how the last run ended."""
        if self.champion is not None:
            return "scored"
        if self.received is not None:
            return "awaiting a first model"
        return self.run_status or "no file"


@dataclass(frozen=True)
class FileFact:
    kind: str
    file_name: str
    file_sha256: str
    bytes: int
    revision: int
    is_current: bool
    has_label: bool
    received: int
    accepted: int
    quarantined: int
    code_version: str
    run_id: str
    loaded_at: datetime


@dataclass(frozen=True)
class RunFact:
    run_id: str
    command: str
    status: str
    started_at: datetime
    ended_at: datetime | None
    code_version: str
    message: str | None
    backfill_id: str | None


@dataclass(frozen=True)
class Decision:
    verdict: str
    rule: str
    value: str
    threshold: str
    reason: str
    champion: str | None
    version: str | None
    run_id: str
    decided_at: datetime


@dataclass(frozen=True)
class RetrainRule:
    """`met` is None where the rule could not be evaluated, and `reason` says why."""

    position: int
    rule: str
    value: str
    threshold: str
    met: bool | None
    reason: str


@dataclass(frozen=True)
class GateCheck:
    """One check of challenger against champion; `passed` is None where it could not be evaluated."""

    month: str
    position: int
    model: str
    version: str
    champion: str | None
    champion_version: str | None
    sample_month: str | None
    clients: int | None
    defaulters: int | None
    name: str
    value: float | None
    low: float | None
    high: float | None
    threshold: float | None
    passed: bool | None
    reason: str


@dataclass(frozen=True)
class Promotion:
    """A change of champion: `action` is 'first', 'gate', 'replacement', 'promote' or 'rollback'."""

    promotion_id: str
    month: str
    action: str
    model: str
    version: str
    from_model: str | None
    from_version: str | None
    reason: str
    decided_by: str
    decided_at: datetime
    run_id: str | None

    @property
    def by_hand(self) -> bool:
        return self.action in ("promote", "rollback")


@dataclass(frozen=True)
class Expectation:
    kind: str
    file_sha256: str
    position: int
    rule: str
    expectation: str
    column_name: str | None
    severity: str
    meaning: str
    outcome: str
    evaluated: int
    unexpected: int
    examples: str
    reason: str | None

    @property
    def share(self) -> float | None:
        return self.unexpected / self.evaluated if self.evaluated else None

    @property
    def example_texts(self) -> list[str]:
        """The examples as texts; a cell that is no JSON list is shown as it stands."""
        try:
            found = json.loads(self.examples)
        except ValueError:
            return [self.examples] if self.examples else []
        return [_example(e) for e in found] if isinstance(found, list) else [self.examples]


def _example(example: Any) -> str:
    """`row 17: -5` where the row is known, else the value as it stands."""
    if isinstance(example, dict) and {"row_number", "value"} <= example.keys():
        return f"row {example['row_number']}: {_example(example['value'])}"
    return example if isinstance(example, str) else json.dumps(example)


@dataclass(frozen=True)
class RuleCount:
    kind: str
    rule: str
    column_name: str | None
    row_count: int


@dataclass(frozen=True)
class QuarantinedRow:
    kind: str
    row_number: int
    client_id: str | None
    rule: str
    column_name: str | None
    value: str | None
    raw_row: str


@dataclass(frozen=True)
class CodeCount:
    position: int
    attribute: str
    code: str
    meaning: str
    occurrences: int
    cells: int

    @property
    def share(self) -> float | None:
        return self.occurrences / self.cells if self.cells else None


@dataclass(frozen=True)
class ModelFact:
    model: str
    version: str
    is_champion: bool
    basis: str
    scored: int
    mean_pd: float
    run_id: str
    code_version: str
    scored_at: datetime
    trained_in: str | None
    training_months: list[str] | None
    training_rows: int | None
    training_defaulters: int | None
    manifest_sha256: str | None
    seed: int | None
    fit_seconds: float | None
    attributes: str | None
    calibrator: str | None
    cut_off: float | None


@dataclass(frozen=True)
class Metric:
    model: str
    version: str
    sample: str
    basis: str
    month: str
    metric: str
    value: float | None
    clients: int
    defaulters: int | None  # not known where the figure is an estimate
    reason: str | None


@dataclass(frozen=True)
class Grade:
    """Clients of a grade; sums are in the currency of the file, and `risked` is that of balance times PD."""

    grade: str | None
    clients: int
    mean_pd: float
    points_low: int | None
    points_high: int | None
    credit_limit: float
    balance: float
    risked: float
    outcomes: int
    default_rate: float | None


@dataclass(frozen=True)
class PdBin:
    bin: int
    clients: int


@dataclass(frozen=True)
class PdSummary:
    clients: int
    mean: float | None
    low: float | None
    p05: float | None
    p25: float | None
    median: float | None
    p75: float | None
    p95: float | None
    high: float | None


@dataclass(frozen=True)
class DriftFact:
    name: str
    statistic: str
    value: float | None
    band: str
    reference_rows: int
    current_rows: int
    model: str
    version: str
    reason: str | None


@dataclass(frozen=True)
class DriftBin:
    name: str
    bin: int
    label: str
    reference_share: float
    current_share: float
    contribution: float


@dataclass(frozen=True)
class OutcomeCount:
    """The champion's scored clients of a month, those with a known outcome, and the defaulters of them."""

    scored: int
    outcomes: int
    defaulters: int


@dataclass(frozen=True)
class Flags:
    """Clients at or above the champion's cut-off, of those judged; defaulters where outcomes are known."""

    judged: int
    flagged: int
    flagged_known: int
    flagged_defaulters: int
    defaulters: int


@dataclass(frozen=True)
class ReasonCount:
    """Explained clients of a grade that name a reason in any place, and those that name it first."""

    code: str
    reason: str | None
    grade: str | None
    clients: int
    first: int


@dataclass(frozen=True)
class Explained:
    grade: str | None
    clients: int
    explained: int
    with_reason: int
    with_unusual: int


@dataclass(frozen=True)
class UnusualColumn:
    """How many explained clients name the column among their three; deformations in standard deviations."""

    name: str
    clients: int
    first: int
    median: float
    largest: float


@dataclass(frozen=True)
class WorkedClient:
    """One client in figures, with up to four reasons and three unusual columns."""

    client_id: str
    model: str
    version: str
    score: float
    pd: float
    points: int | None
    grade: str | None
    flagged: bool | None
    defaulted: int | None
    chosen_for: str
    base_log_odds: float
    reasons: tuple[Reason, ...]
    unusual: tuple[Unusual, ...]


@dataclass(frozen=True)
class AlertFact:
    """An alert rule as the newest run of the month found it: `state` is 'raised', 'clear' or 'not run'."""

    month: str
    run_id: str
    position: int
    rule: str
    severity: str
    state: str
    about_month: str | None
    value: float | None
    threshold: float | None
    message: str
    remedy: str
    evaluated_at: datetime
    told: str | None


@dataclass(frozen=True)
class MonthFacts:
    """Everything that the pages of one month tell, but for the samples."""

    row: MonthRow
    files: list[FileFact]
    runs: list[RunFact]
    decision: Decision | None
    expectations: list[Expectation]
    quarantine_rules: list[RuleCount]
    quarantine_rows: list[QuarantinedRow]
    codes: list[CodeCount]
    models: list[ModelFact]
    performance: list[Metric]
    grades: list[Grade]
    pd_bins: list[PdBin]
    pd_summary: PdSummary
    drift: list[DriftFact]
    drift_bins: list[DriftBin]
    outcomes: OutcomeCount
    rules: list[RetrainRule]
    gate: list[GateCheck]
    promotions: list[Promotion]
    flags: Flags
    explained: list[Explained]
    reason_mix: list[ReasonCount]
    unusual: list[UnusualColumn]
    worked: list[WorkedClient]
    alerts: list[AlertFact]
    later_alerts: list[AlertFact]  # raised by runs of other months, about this one: outcomes come late

    @property
    def month(self) -> str:
        return self.row.month

    @property
    def champion(self) -> ModelFact | None:
        return next((m for m in self.models if m.is_champion), None)

    @property
    def current_files(self) -> list[FileFact]:
        return [f for f in self.files if f.is_current]

    @property
    def quarantined(self) -> int:
        return sum(f.quarantined for f in self.current_files)

    def bins_of(self, name: str) -> list[DriftBin]:
        return [b for b in self.drift_bins if b.name == name]

    def metrics_of(self, sample: str) -> list[Metric]:
        return [m for m in self.performance if m.sample == sample]


# --- Reading -------------------------------------------------------------------------------------


def gather_overview(con: duckdb.DuckDBPyConnection) -> list[MonthRow]:
    """One row for every month that has a file or a run, oldest first."""
    return records(con, "report_months", MonthRow, month=None)


@dataclass(frozen=True)
class _Neighbour:
    month: str


def scored_before(con: duckdb.DuckDBPyConnection, month: str) -> str | None:
    """The newest month before `month` whose clients are scored."""
    return next((found.month for found in records(con, "report_neighbour", _Neighbour, month=month)), None)


def earlier_row(con: duckdb.DuckDBPyConnection, month: str) -> MonthRow | None:
    """The overview's line of the newest month before `month` that has a file or a run."""
    before = next(iter(records(con, "report_month_before", _Neighbour, month=month)), None)
    return records(con, "report_months", MonthRow, month=before.month)[0] if before else None


@dataclass(frozen=True)
class PsiPoint:
    """PSI of the score, or CSI of an attribute, in one month."""

    month: str
    name: str
    statistic: str
    value: float | None
    band: str


def gather_psi_trend(con: duckdb.DuckDBPyConnection, month: str) -> list[PsiPoint]:
    """Every variable's index in every month up to `month`, oldest first."""
    return records(con, "report_psi_trend", PsiPoint, month=month)


def gather_alerts(con: duckdb.DuckDBPyConnection) -> dict[str, list[AlertFact]]:
    """Every month's alert rules, raised ones first, by severity."""
    months: dict[str, list[AlertFact]] = {}
    for alert in records(con, "current_alerts", AlertFact, month=None):
        months.setdefault(alert.month, []).append(alert)
    return months


def about(month: str, alerts: Mapping[str, Sequence[AlertFact]]) -> list[AlertFact]:
    """Alerts about `month` that runs of other months raised."""
    return [
        alert
        for other, found in alerts.items()
        for alert in found
        if other != month and alert.about_month == month and alert.state == "raised"
    ]


def gather_month(con: duckdb.DuckDBPyConnection, month: Month) -> MonthFacts | None:
    """All facts of a month; None when the warehouse holds neither a file nor a run of it."""
    key = str(month)
    rows = records(con, "report_months", MonthRow, month=key)
    if not rows:
        return None
    # One look at the clients, for what queries below and those of two pages tell.
    con.execute(f"CREATE OR REPLACE TEMP TABLE month_cells AS {query('report_cells')}", {"month": key})
    return MonthFacts(
        row=rows[0],
        files=records(con, "report_files", FileFact, month=key),
        runs=records(con, "report_runs", RunFact, month=key),
        decision=next(iter(records(con, "report_decision", Decision, month=key)), None),
        expectations=records(con, "report_expectations", Expectation, month=key),
        quarantine_rules=records(con, "report_quarantine_rules", RuleCount, month=key),
        quarantine_rows=records(
            con, "report_quarantine_rows", QuarantinedRow, month=key, limit=QUARANTINE_ROWS
        ),
        codes=records(con, "report_codes", CodeCount, month=key),
        models=records(con, "report_models", ModelFact, month=key),
        performance=records(con, "report_performance", Metric, month=key),
        grades=records(con, "report_grades", Grade, month=key),
        pd_bins=records(con, "report_pd_histogram", PdBin, month=key, bins=PD_BINS),
        pd_summary=records(con, "report_pd_summary", PdSummary, month=key)[0],
        drift=records(con, "report_drift", DriftFact, month=key),
        drift_bins=records(con, "report_drift_bins", DriftBin, month=key),
        outcomes=records(con, "report_counts", OutcomeCount, month=key)[0],
        rules=records(con, "report_rules", RetrainRule, month=key),
        gate=records(con, "report_gate", GateCheck, month=key),
        promotions=records(con, "report_promotions", Promotion, month=key),
        flags=records(con, "report_flags", Flags, month=key)[0],
        explained=records(con, "report_explained", Explained, month=key),
        reason_mix=records(con, "report_reason_mix", ReasonCount, month=key),
        unusual=records(con, "report_unusual", UnusualColumn, month=key, limit=UNUSUAL_COLUMNS),
        worked=[WorkedClient(**with_reasons(row)) for row in _rows(con, "report_worked", month=key)],
        alerts=records(con, "current_alerts", AlertFact, month=key),
        later_alerts=about(key, gather_alerts(con)),
    )


def sample(
    con: duckdb.DuckDBPyConnection, month: Month, *, rows: int, seed: int, known_only: bool = False
) -> pl.DataFrame:
    """At most `rows` of the champion's clients: the attributes, score, pd, defaulted (null while unknown).

    Seeded by a digest of the client ID, so the same rows come back whatever the number of threads.
    """
    values = {"month": str(month), "limit": rows, "seed": str(seed), "known_only": known_only}
    return con.sql(query("report_sample"), params=values).pl()


def records(con: duckdb.DuckDBPyConnection, name: str, kind: type[Record], **values: Any) -> list[Record]:
    """The rows of `sql/queries/NAME.sql`, whose columns carry the names of the record's fields."""
    return [kind(**row) for row in _rows(con, name, **values)]


def _rows(con: duckdb.DuckDBPyConnection, name: str, **values: Any) -> list[dict[str, Any]]:
    # DuckDB refuses an empty set of parameters where a query has none.
    return con.sql(query(name), params=values or None).pl().to_dicts()
