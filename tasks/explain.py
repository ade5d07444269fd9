"""One client's score in words, from the published database: figures, reasons and what is unusual.

Reads what the monthly run stored, so it answers without a model and without torch.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from math import log
from pathlib import Path
from typing import Any

import duckdb

from creditflow.errors import UsageError
from creditflow.month import Month
from sql.library import query
from sql.warehouse import open_published
from tasks.reports.reasons import SYMBOLS, Reason, Unusual, with_reasons

# A score of exactly 0 or 1 has no log-odds.
_EDGE = 1e-12


@dataclass(frozen=True)
class Explanation:
    """The champion's score of a client in one month.

    Args:
        score: the champion's own, before calibration; `pd` after it.
        cut_off: the PD from which a client is flagged; `flagged` is None for scores of earlier releases.
        explained: whether reasons were computed for the client at all.
        base_log_odds: where every client's log-odds begin; None without contributions.
        reasons: what raised the log-odds most, the weightiest first.
        unusual: the columns that the one-class VAE found most unusual.
        defaulted: 1 or 0 once the outcome is known.
    """

    month: str
    client_id: str
    model: str
    version: str
    basis: str
    score: float
    pd: float
    points: int | None
    grade: str | None
    flagged: bool | None
    cut_off: float | None
    calibrator: str | None
    defaulted: int | None
    scored_at: datetime
    run_id: str
    explained: bool
    base_log_odds: float | None
    reasons: tuple[Reason, ...]
    unusual: tuple[Unusual, ...]

    @property
    def log_odds(self) -> float | None:
        """What base and all contributions add up to, before calibration; None without contributions."""
        if self.base_log_odds is None or not _EDGE <= self.score <= 1 - _EDGE:
            return None
        return log(self.score / (1 - self.score))

    @property
    def other_columns(self) -> float | None:
        """What all columns that are not among the reasons add to the log-odds."""
        if self.log_odds is None or self.base_log_odds is None:
            return None
        return self.log_odds - self.base_log_odds - sum(r.contribution for r in self.reasons)

    def as_dict(self) -> dict[str, Any]:
        """A form that JSON keeps."""
        table = asdict(self) | {"scored_at": self.scored_at.isoformat(sep=" ", timespec="seconds")}
        table["reasons"] = [asdict(r) | {"odds_factor": r.odds_factor} for r in self.reasons]
        table["unusual"] = [asdict(u) for u in self.unusual]
        return table | {"log_odds": self.log_odds, "other_columns": self.other_columns}


# ── Asking ──────────────────────────────────────────────────────────────────────────────────────


def explain(published: Path, month: Month, client_id: str) -> Explanation:
    """The explanation of one client's score.

    Raises:
        HomeUnusable: nothing has been published yet.
        UsageError: the month is not scored, the client is not in it, or an earlier release published it.
    """
    with open_published(published) as con:
        _check_tables(con, published)
        rows = _rows(con, "explain_client", month=str(month), client_id=client_id)
        if not rows:
            raise _unknown(con, month, client_id)
    return Explanation(**with_reasons(rows[0]))


def _check_tables(con: duckdb.DuckDBPyConnection, published: Path) -> None:
    tables = {name for (name,) in con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if "reasons" not in tables:
        raise UsageError(
            str(published),
            expected="a database with the table reasons",
            found="one that an earlier release published",
            remedy="Run a month with this release: creditflow run MONTH.",
        )


def _unknown(con: duckdb.DuckDBPyConnection, month: Month, client_id: str) -> UsageError:
    scored, first, last = _rows(con, "explain_month", month=str(month))[0].values()
    if not scored:
        return UsageError(
            f"month {month}",
            expected=f"a scored month from {first} to {last}" if first else "a scored month",
            found="no score of it" if first else "none at all",
            remedy="creditflow status shows every month.",
        )
    return UsageError(
        f"client {client_id!r} in {month}",
        expected=f"one of the {scored:,} clients scored, written as in the file",
        found="no such client",
        remedy=f"List them: creditflow sql \"FROM champion_scores WHERE month = '{month}'\".",
    )


def _rows(con: duckdb.DuckDBPyConnection, name: str, **values: Any) -> list[dict[str, Any]]:
    return con.sql(query(name), params=values).pl().to_dicts()


# ── In words ────────────────────────────────────────────────────────────────────────────────────


def in_words(found: Explanation) -> list[str]:
    """The explanation as lines for a terminal."""
    return [
        f"Client {found.client_id}, {found.month}",
        f"  PD        {found.pd:.2%}{_rating(found)}",
        f"  Flag      {_flag(found)}",
        f"  Outcome   {_outcome(found)}",
        f"  Model     {found.model} {found.version}, {_basis(found.basis)}, run {found.run_id}",
        "",
        *_reason_lines(found),
        "",
        *_unusual_lines(found),
    ]


def _rating(found: Explanation) -> str:
    grade = f", grade {found.grade}" if found.grade else ""
    return grade + (f", {found.points} points" if found.points is not None else "")


def _flag(found: Explanation) -> str:
    if found.flagged is None:
        return "not judged: scored by an earlier release"
    if found.cut_off is None:
        return "flagged" if found.flagged else "not flagged"
    how = "flagged: the PD reaches" if found.flagged else "not flagged: the PD is below"
    return f"{how} the cut-off of {found.cut_off:.2%}"


def _outcome(found: Explanation) -> str:
    if found.defaulted is None:
        return f"not known: outcomes of {found.month} not received for this client"
    return "defaulted" if found.defaulted else "did not default"


def _basis(basis: str) -> str:
    return basis.replace("_", "-")


def _reason_lines(found: Explanation) -> list[str]:
    if not found.explained:
        return ["No reasons: the settings asked for none for this client (CREDITFLOW_EXPLAIN_UP_TO, _SHARE)."]
    if found.base_log_odds is None:
        return [f"No reasons: {found.model} has no additive contributions."]
    if not found.reasons:
        return ["No reason: nothing raised this score enough to be told."]
    widest = max(len(r.code) for r in found.reasons)
    lines = [
        f"  {r.contribution:+6.2f}  odds × {r.odds_factor:5.2f}  {r.code:{widest}}  {r.text}"
        for r in found.reasons
    ]
    return ["What raised the score, in log-odds of default", *lines, *_sum_lines(found)]


def _sum_lines(found: Explanation) -> list[str]:
    if found.log_odds is None or found.other_columns is None:
        return []
    after = (
        "" if found.calibrator in (None, "none") else f"; {found.calibrator} calibration turns it into the PD"
    )
    return [
        f"  {found.other_columns:+6.2f}  all other columns together",
        f"  {found.base_log_odds:+6.2f}  where every client begins",
        f"  {found.log_odds:+6.2f}  together: a score of {found.score:.2%}{after}",
    ]


def _unusual_lines(found: Explanation) -> list[str]:
    if not found.unusual:
        return ["Unusual columns: not computed, the set has no one-class VAE or the client is not explained."]
    widest = max(len(u.name) for u in found.unusual)
    lines = [f"  {u.deformation:+6.1f} SD  {u.name:{widest}}  {u.meaning}" for u in found.unusual]
    head = "Most unusual columns, in standard deviations (SD) from what the one-class VAE expects"
    return [head, *lines, f"  {SYMBOLS}"]
