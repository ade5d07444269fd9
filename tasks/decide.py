"""Retrain or reuse: a stated rule, evaluated every month and written down with its value.

The rules, first match wins:

1. nothing to learn from     no outcome is known: wait, or reuse the champion
2. asked for                 a person asked for it (`--retrain`)
3. no champion               the first model is developed
4. age                       the champion is older than the setting allows
5. otherwise                 reuse
"""

from dataclasses import dataclass
from typing import Literal

import duckdb

from creditflow.month import Month
from sql.warehouse import execute, open_warehouse
from tasks.stage import Run, stage

Verdict = Literal["retrain", "reuse", "wait"]


@dataclass(frozen=True)
class Champion:
    """The model in force: its name, the version of the set it belongs to, and the month it dates from."""

    model: str
    version: str
    since: Month


@dataclass(frozen=True)
class Known:
    """What is known when a month is decided: the champion so far and the months with outcomes."""

    champion: Champion | None
    earlier_outcomes: tuple[Month, ...]
    own_label: bool
    asked: bool


@dataclass(frozen=True)
class Decision:
    """The verdict for a month, the rule that gave it, and the months to learn from."""

    verdict: Verdict
    rule: str
    value: str
    threshold: str
    reason: str
    champion: Champion | None
    training_months: tuple[Month, ...] = ()


@stage("decide")
def decide(run: Run, asked: bool) -> Decision:
    """Applies the retrain rule to what was known at the time of the run's month."""
    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con:
        known = _known(con, run.month, asked)
    return retrain_rule(
        run.month, known, run.options.max_model_age_months, run.options.training_window_months
    )


def retrain_rule(month: Month, known: Known, max_age: int, window: int) -> Decision:
    """The rule itself; see the module's docstring."""
    learnable = known.earlier_outcomes[-window:] or ((month,) if known.own_label else ())
    champion = known.champion
    if champion is None:
        return _first_model(month, learnable, known)
    if known.asked and not known.earlier_outcomes:
        return _reuse(
            "asked for",
            "no outcomes",
            "outcomes of an earlier month",
            f"A retraining was asked for, but no outcome of a month before {month} is known.",
            champion,
        )
    if known.asked:
        return Decision(
            "retrain", "asked for", "yes", "yes", "A retraining was asked for.", champion, learnable
        )
    age = month.minus(champion.since)
    if age >= max_age and known.earlier_outcomes:
        reason = f"The champion of {champion.since} is {age} months old; {max_age} is the limit."
        return Decision("retrain", "age", f"{age} months", f"{max_age} months", reason, champion, learnable)
    reason = f"The champion of {champion.since} is {age} of at most {max_age} months old."
    return _reuse("age", f"{age} months", f"{max_age} months", reason, champion)


def _reuse(rule: str, value: str, threshold: str, reason: str, champion: Champion) -> Decision:
    return Decision("reuse", rule, value, threshold, reason, champion)


def _first_model(month: Month, learnable: tuple[Month, ...], known: Known) -> Decision:
    if not learnable:
        reason = f"No outcome is known before {month}."
        return Decision("wait", "no champion", "no outcomes", "outcomes of one month", reason, None)
    if known.earlier_outcomes:
        reason = f"There is no champion yet; outcomes of {_span(learnable)} are known."
    else:
        reason = (
            f"There is no champion yet; the file of {month} carries its own label: its scores are in-sample."
        )
    return Decision("retrain", "no champion", "none", "one", reason, None, learnable)


def _span(months: tuple[Month, ...]) -> str:
    return str(months[0]) if len(months) == 1 else f"{months[0]} to {months[-1]}"


def _known(con: duckdb.DuckDBPyConnection, month: Month, asked: bool) -> Known:
    champion = execute(con, "champion_before", month=str(month))
    outcomes = [Month.parse(m) for (m,) in execute(con, "months_with_outcomes", month=str(month))]
    return Known(
        champion=Champion(champion[0][0], champion[0][1], _since(con, champion[0][1])) if champion else None,
        earlier_outcomes=tuple(m for m in outcomes if m < month),
        own_label=month in outcomes,
        # A wish stays in force when the month is run again.
        asked=asked or bool(execute(con, "was_asked_for", month=str(month))),
    )


def _since(con: duckdb.DuckDBPyConnection, version: str) -> Month:
    return Month.parse(execute(con, "development_month", version=version)[0][0])
