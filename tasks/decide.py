"""Retrain or reuse: stated rules, all evaluated every month and written down with their values.

In the order of precedence; the first that is met decides, and where none is met the champion is reused:

1. nothing to learn from     no outcome is known: wait, or reuse the champion
2. a person's choice         a person chose this month's champion (`creditflow models promote`): reuse it
3. asked for                 a person asked for a retraining (`--retrain`)
4. no champion               the first model is developed
5. champion unusable         missing, of an older format, or it knows attributes that the settings leave out
6. revised                   rows that it learned from have been revised since
7. age                       older than the setting allows
8. drift                     PSI of its score, in the newest month that it scored live, above the setting
9. decay                     realised ROC AUC of the newest such month with outcomes below its held-out one
                             by more than the setting

Age, drift and decay lead to a retraining only where there are outcomes that no set has learned from yet;
without any, the same model would come of it.

A month that is run again decides the same. So a rule looks at months before its own alone, and at scores
and outcomes themselves: the figures of `performance` and `drift` are written after the decision, and a second
run would find what the first one lacked. A person's wish counts for the month it was made for, and stays in
force.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import duckdb

from creditflow.errors import ArtifactError, ArtifactMissing, ArtifactOutdated
from creditflow.month import Month
from sql.warehouse import execute, frame, open_warehouse
from tasks.derived import revised_since
from tasks.options import Options
from tasks.registry import ModelId, load_of_set
from tasks.stage import Run, stage

if TYPE_CHECKING:
    from models.develop import DevelopedModel

Verdict = Literal["retrain", "reuse", "wait"]
# Of each class; with fewer, the noise of an AUC is larger than any decay worth acting on.
DECAY_CLIENTS_MIN = 50
_AGEING = ("age", "drift", "decay")


@dataclass(frozen=True)
class Champion:
    """The model in force: its name, the version of the set it belongs to, and the month it dates from."""

    model: str
    version: str
    since: Month

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"


@dataclass(frozen=True)
class Finding:
    """A figure of the champion in one month, or the reason why there is none."""

    value: float | None = None
    month: Month | None = None
    reason: str = "There is no champion."


@dataclass(frozen=True)
class Known:
    """What is known when a month is decided.

    Args:
        champion: in force before this month, or chosen for it.
        earlier_outcomes: months before this one whose outcomes are known.
        own_label: whether the month's own file carries its outcomes.
        asked: whether a person asked for a retraining.
        chosen: why a person chose the champion for this month; None where nobody did.
        unusable: why the champion cannot be used; None where it can.
        revised: months that the champion learned from and whose files have other content now.
        learned_until: the newest month that any earlier set learned from.
        drift: PSI of the champion's score in the newest month that it scored live.
        decay: held-out less realised ROC AUC of the champion, in the newest such month with outcomes.
    """

    champion: Champion | None
    earlier_outcomes: tuple[Month, ...]
    own_label: bool
    asked: bool
    chosen: str | None = None
    unusable: str | None = None
    revised: tuple[str, ...] = ()
    learned_until: Month | None = None
    drift: Finding = field(default_factory=Finding)
    decay: Finding = field(default_factory=Finding)

    @property
    def news(self) -> bool:
        """Whether there are outcomes that no set has learned from."""
        newest = self.earlier_outcomes[-1] if self.earlier_outcomes else None
        return newest is not None and (self.learned_until is None or newest > self.learned_until)

    def learnable(self, month: Month, window: int) -> tuple[Month, ...]:
        """The months to learn from; the month's own label only where there is nothing else to score by."""
        own = self.own_label and (self.champion is None or self.unusable is not None)
        return self.earlier_outcomes[-window:] or ((month,) if own else ())


@dataclass(frozen=True)
class Rule:
    """One rule as it was evaluated; `met` is None where it could not be."""

    rule: str
    value: str
    threshold: str
    met: bool | None
    reason: str


@dataclass(frozen=True)
class Decision:
    """The verdict for a month, the rule that gave it, all rules, and the months to learn from."""

    verdict: Verdict
    rule: str
    value: str
    threshold: str
    reason: str
    champion: Champion | None
    training_months: tuple[Month, ...] = ()
    rules: tuple[Rule, ...] = ()
    unusable: str | None = None


@stage("decide")
def decide(run: Run, asked: bool) -> Decision:
    """Applies the rules to what was known at the time of the run's month.

    Raises:
        ArtifactError: the champion's artifact is damaged, or newer than this code.
    """
    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con:
        known = _known(con, run, asked)
    return retrain_rule(run.month, known, run.options)


# ── The rules ───────────────────────────────────────────────────────────────────────────────────


def retrain_rule(month: Month, known: Known, options: Options) -> Decision:
    """The rules themselves; see the module's docstring."""
    learnable = known.learnable(month, options.training_window_months)
    evaluated = (
        _nothing_to_learn(month, known, learnable),
        _choice(known),
        _asked(known),
        _no_champion(month, known, learnable),
        _unusable(known),
        _revised(known),
        _age(month, known, options.max_model_age_months),
        _drift(known, options.max_drift_psi),
        _decay(known, options.max_auc_decay),
    )
    rules = tuple(_without_news(rule, known) for rule in evaluated)
    decisive = next((rule for rule in rules if rule.met), None)
    shown = decisive or _none_met(rules)
    verdict = _verdict(decisive, known)
    return Decision(
        verdict,
        shown.rule,
        shown.value,
        shown.threshold,
        shown.reason,
        known.champion,
        learnable if verdict == "retrain" else (),
        rules,
        known.unusable,
    )


def _verdict(decisive: Rule | None, known: Known) -> Verdict:
    if decisive is None or decisive.rule == "a person's choice":
        return "reuse"
    if decisive.rule == "nothing to learn from":
        return "reuse" if known.champion else "wait"
    return "reuse" if decisive.rule in _AGEING and not known.news else "retrain"


def _without_news(rule: Rule, known: Known) -> Rule:
    if not rule.met or rule.rule not in _AGEING or known.news:
        return rule
    until = f" since {known.learned_until}" if known.learned_until else ""
    reason = f"{rule.reason} But there is nothing new to learn from: no outcomes have come{until}."
    return Rule(rule.rule, rule.value, rule.threshold, rule.met, reason)


def _none_met(rules: Sequence[Rule]) -> Rule:
    """The age speaks for the rules of which none is met; the others add what they could not tell."""
    age, drift, decay = (next(r for r in rules if r.rule == name) for name in _AGEING)
    return Rule(age.rule, age.value, age.threshold, None, " ".join(r.reason for r in (age, drift, decay)))


def _nothing_to_learn(month: Month, known: Known, learnable: Sequence[Month]) -> Rule:
    name, threshold = "nothing to learn from", "outcomes of one month"
    if not learnable:
        reason = f"No outcome of a month before {month} is known."
        if known.unusable:
            reason += f" {known.champion} stays in force, although it should not be used: {known.unusable}."
        return Rule(name, "no outcomes", threshold, True, reason)
    return Rule(
        name,
        _months(len(learnable)),
        threshold,
        False,
        f"There are outcomes of {_span(learnable)} to learn from.",
    )


def _choice(known: Known) -> Rule:
    name, threshold = "a person's choice", "a choice for this month"
    if known.chosen is None:
        return Rule(name, "none", threshold, False, "Nobody chose a champion for this month.")
    reason = f"{known.champion} was chosen for this month: {known.chosen.rstrip('.')}."
    if known.unusable:
        return Rule(name, str(known.champion), threshold, False, f"{reason} But {known.unusable}.")
    wish = " A retraining was asked for too; the choice goes before it." if known.asked else ""
    return Rule(name, str(known.champion), threshold, True, reason + wish)


def _asked(known: Known) -> Rule:
    reason = "A retraining was asked for." if known.asked else "Nobody asked for a retraining."
    return Rule("asked for", "yes" if known.asked else "no", "yes", known.asked, reason)


def _no_champion(month: Month, known: Known, learnable: Sequence[Month]) -> Rule:
    name, threshold = "no champion", "one"
    if known.champion is not None:
        return Rule(name, str(known.champion), threshold, False, f"{known.champion} is champion.")
    reason = "There is no champion yet"
    if learnable == (month,):
        reason += f"; the file of {month} carries its own label: its scores are in-sample"
    elif learnable:
        reason += f"; outcomes of {_span(learnable)} are known"
    return Rule(name, "none", threshold, True, f"{reason}.")


def _unusable(known: Known) -> Rule:
    name, threshold = "champion unusable", "usable"
    if known.champion is None:
        return Rule(name, "none", threshold, None, "There is no champion.")
    if known.unusable is None:
        return Rule(name, "usable", threshold, False, f"{known.champion} can be used.")
    return Rule(name, "unusable", threshold, True, f"{known.champion} cannot be used: {known.unusable}.")


def _revised(known: Known) -> Rule:
    name, threshold = "revised", "none"
    if known.champion is None:
        return Rule(name, "none", threshold, None, "There is no champion.")
    if not known.revised:
        reason = f"What {known.champion} learned from has not been revised."
        return Rule(name, "none", threshold, False, reason)
    months = ", ".join(known.revised)
    reason = f"{known.champion} learned from files of {months} that were revised since."
    return Rule(name, months, threshold, True, reason)


def _age(month: Month, known: Known, limit: int) -> Rule:
    if known.champion is None:
        return Rule("age", "none", _months(limit), None, "There is no champion.")
    age = month.minus(known.champion.since)
    if age >= limit:
        reason = f"The champion of {known.champion.since} is {_months(age)} old; {limit} is the limit."
    else:
        reason = f"The champion of {known.champion.since} is {age} of at most {_months(limit)} old."
    return Rule("age", _months(age), _months(limit), age >= limit, reason)


def _drift(known: Known, limit: float) -> Rule:
    value, found = known.drift.value, known.drift
    if value is None:
        return Rule("drift", "not evaluated", f"{limit:g}", None, f"Drift was not evaluated: {found.reason}")
    above = value > limit
    held = f"{'above' if above else 'not above'} {limit:g}"
    reason = f"The PSI of its score in {found.month} is {value:.3f}, {held}."
    return Rule("drift", f"{value:.3f}", f"{limit:g}", above, reason)


def _decay(known: Known, limit: float) -> Rule:
    value, found = known.decay.value, known.decay
    if value is None:
        return Rule("decay", "not evaluated", f"{limit:g}", None, f"Decay was not evaluated: {found.reason}")
    above = value > limit
    side = "below" if value >= 0 else "above"
    held = f"{'more' if above else 'no more'} than {limit:g} below"
    reason = f"Its ROC AUC in {found.month} lies {abs(value):.3f} {side} the held-out one, {held}."
    return Rule("decay", f"{value:.3f}", f"{limit:g}", above, reason)


def _months(count: int) -> str:
    return f"{count} month" if count == 1 else f"{count} months"


def _span(months: Sequence[Month]) -> str:
    return str(months[0]) if len(months) == 1 else f"{months[0]} to {months[-1]}"


# ── What is known ───────────────────────────────────────────────────────────────────────────────


def _known(con: duckdb.DuckDBPyConnection, run: Run, asked: bool) -> Known:
    month = str(run.month)
    chosen = execute(con, "chosen_for", month=month)
    champion = champion_named(con, chosen or execute(con, "champion_before", month=month))
    outcomes = [Month.parse(m) for (m,) in execute(con, "months_with_outcomes", month=month)]
    learned = execute(con, "learned_until", month=month)[0][0]
    # A wish stays in force when the month is run again.
    asked = asked or bool(execute(con, "was_asked_for", month=month))
    model, unusable = usable(con, run, champion, asked) if champion else (None, None)
    return Known(
        champion=champion,
        earlier_outcomes=tuple(m for m in outcomes if m < run.month),
        own_label=run.month in outcomes,
        asked=asked,
        chosen=chosen[0][3] if chosen else None,
        unusable=unusable,
        revised=revised_since(con, champion.version) if champion else (),
        learned_until=Month.parse(learned) if learned else None,
        drift=_found_drift(con, run, champion, model),
        decay=_found_decay(con, run, champion, model),
    )


def champion_named(con: duckdb.DuckDBPyConnection, named: Sequence[tuple[Any, ...]]) -> Champion | None:
    """The first of rows (model, version, …) as a champion with the month that its set dates from."""
    if not named:
        return None
    model, version = named[0][:2]
    return Champion(model, version, Month.parse(execute(con, "development_month", version=version)[0][0]))


def usable(
    con: duckdb.DuckDBPyConnection, run: Run, champion: Champion, asked: bool
) -> tuple["DevelopedModel | None", str | None]:
    """The champion's model, or why this version of creditflow with these settings cannot use its set.

    A damaged artifact, or one of a newer version, is no reason to replace a model in silence: that is an
    error, unless a person asked for a retraining.

    Raises:
        ArtifactError: as said.
    """
    attributes = execute(con, "model_on_record", model=champion.model, version=champion.version)[0][2]
    if run.options.attributes == "unprotected" and attributes != "unprotected":
        return (
            None,
            f"it was developed with CREDITFLOW_ATTRIBUTES={attributes}, and the settings leave some out",
        )
    try:
        return load_of_set(con, run.home, ModelId(champion.model, champion.version)), None
    except ArtifactError as error:
        if asked or isinstance(error, ArtifactMissing | ArtifactOutdated):
            return None, f"{error.where}: expected {error.expected}, found {error.found}"
        raise


def _found_drift(
    con: duckdb.DuckDBPyConnection, run: Run, champion: Champion | None, model: "DevelopedModel | None"
) -> Finding:
    if champion is None or model is None:
        return _absent(champion)
    month = _newest_live(con, run.month, champion, known=False)
    if month is None:
        return Finding(reason="the champion has scored no earlier month live.")
    from models.stability import psi

    scores = frame(con, "scores_of_month", month=str(month), model=champion.model, version=champion.version)
    result = psi(model.bins["score"], scores["score"])
    return Finding(result.value, month, f"{result.reason}.")


def _found_decay(
    con: duckdb.DuckDBPyConnection, run: Run, champion: Champion | None, model: "DevelopedModel | None"
) -> Finding:
    if champion is None or model is None:
        return _absent(champion)
    month = _newest_live(con, run.month, champion, known=True)
    if month is None:
        return Finding(reason="no outcome is known of a month that the champion scored live.")
    from models.metrics import classification_metrics

    truth = frame(con, "pd_and_outcome", month=str(month), model=champion.model)
    facts = model.facts
    sides = {
        str(month): (int(truth["defaulted"].sum()), truth.height),
        "the held-out part": (facts.held_out_defaulters, facts.held_out_rows),
    }
    for side, (defaulters, rows) in sides.items():
        if min(defaulters, rows - defaulters) < DECAY_CLIENTS_MIN:
            found = f"{side} has {defaulters:,} defaulters among {rows:,} clients"
            return Finding(None, month, f"{found}, and {DECAY_CLIENTS_MIN} of each class are needed.")
    before = model.held_out["roc_auc"]
    now = classification_metrics(truth["defaulted"], truth["pd"])["roc_auc"]
    if before.value is None or now.value is None:
        return Finding(None, month, f"{before.reason or now.reason}.")
    return Finding(before.value - now.value, month)


def _absent(champion: Champion | None) -> Finding:
    return Finding(reason="there is no champion." if champion is None else "the champion cannot be used.")


def _newest_live(
    con: duckdb.DuckDBPyConnection, month: Month, champion: Champion, known: bool
) -> Month | None:
    found = execute(
        con,
        "newest_live_month",
        month=str(month),
        version=champion.version,
        known=known,
    )
    return Month.parse(found[0][0]) if found else None
