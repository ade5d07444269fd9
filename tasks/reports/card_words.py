"""What a model card says in words: purpose, features by group, settings, limits, verdicts.

Plain functions of facts. Where a figure does not exist, its place in the text says why.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from creditflow.columns import ATTRIBUTE_NAMES
from tasks.reports.cards import Artifact, Card, Period
from tasks.reports.gather import Promotion

HOW_IT_WORKS: Mapping[str, str] = {
    "logistic": "Logistic regression: linear in the encoded features, so that each contribution is exact.",
    "logistic_smote": "Logistic regression fitted after SMOTE has balanced the classes with invented "
    "defaulters; the calibrator brings its PD back to the rate that was observed.",
    "gradient_boosting": "Histogram gradient boosting: a sum of small decision trees.",
    "vae_anomaly": "A variational autoencoder of clients who did not default; the score is how far a client "
    "is from what it learned. Outcomes serve only to turn that score into a PD.",
    "vae_ratio": "Two variational autoencoders, one of each class of outcome; the score is the ratio of the "
    "likelihoods that they give a client.",
    "vae_supervised": "A variational autoencoder with a classification head on its latent means, fitted "
    "together.",
    "blend": "The mean of the log-odds of two models of the same set: the VAE with a classification head and "
    "gradient boosting.",
}
INTENDED = (
    "Estimates the probability that a credit-card client defaults in the month after the statement. Meant "
    "for the monthly monitoring of an existing portfolio: grades, expected defaults, early warning, and "
    "lists of clients for a person to look at. Read by a risk team and by whoever validates its models."
)
NOT_INTENDED = (
    "Not for granting credit to applicants, who are not in the data; not for refusing or repricing a client "
    "without a person's review; not for horizons beyond one month; not for other products, currencies or "
    "countries without development on their data; not for capital or provisions not validated for them."
)
POLICIES: Mapping[str, str] = {
    "unprotected": "Sex, marriage and age are left out of every feature, so that no score changes with "
    "them. They are stored, and used for monitoring alone. What is left can be correlated with them, so "
    "their absence is no proof of equal treatment.",
    "all": "Nothing is left out: sex, marriage and age are features too, as in the study of this data. "
    "Whether they may be used is a question of law where the portfolio is held.",
}
_GROUPS: tuple[tuple[str, str], ...] = (
    ("Utilisation and headroom", r"utilisation|headroom"),
    ("Payments against bills and limit", r"payment_ratio|payment_over_limit"),
    ("Implied spending", r"implied_spend"),
    ("Delays", r"months_|delay_|count_"),
    ("Bills and payments over six months", r"bill_|bills_|payment_|payments_"),
    ("Codes, rare ones merged", r"sex$|education_group$|marriage_group$|status_"),
)
RECEIVED, OTHERS = "Amounts as received", "Others"

# --- Features and settings --------------------------------------------------------------------------


def feature_groups(names: Sequence[str]) -> list[tuple[str, int, str]]:
    """(group, how many, names with numbered series drawn together), in the order of the matrix."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_group(name), []).append(name)
    return [(group, len(members), ", ".join(drawn_together(members))) for group, members in groups.items()]


def _group(name: str) -> str:
    if name in ATTRIBUTE_NAMES and name != "sex":
        return RECEIVED
    return next((group for group, pattern in _GROUPS if re.match(pattern, name)), OTHERS)


def drawn_together(names: Iterable[str]) -> list[str]:
    """`bill_amt1, bill_amt2, bill_amt3` as `bill_amt1…3`; a name without neighbours stays."""
    runs: list[tuple[str, int, int]] = []
    texts: list[str] = []
    for name in names:
        stem, number = _numbered(name)
        if number and runs and texts and runs[-1][0] == stem and runs[-1][2] == number - 1:
            first = runs[-1][1]
            runs[-1] = (stem, first, number)
            texts[-1] = f"{stem}{first}…{number}"
        else:
            runs.append((stem, number, number))
            texts.append(name)
    return texts


def _numbered(name: str) -> tuple[str, int]:
    found = re.fullmatch(r"(.*?)(\d+)", name)
    return (found[1], int(found[2])) if found else (name, 0)


def settings_lines(settings: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(part of the model, its settings in one line); settings that are left empty are not told."""
    return [
        (part, ", ".join(_setting(*item) for item in own.items() if _told(*item)))
        for part, own in settings.items()
    ]


def _told(name: str, value: Any) -> bool:
    # A pipeline lists each step and each step's settings: the steps' names alone would say it twice.
    return value not in (None, [], "deprecated") and name not in ("steps", "verbose", "memory")


def _setting(name: str, value: Any) -> str:
    # The name of a step is in front of its own settings; the innermost name is what a reader knows.
    short = name.rsplit("__", 1)[-1]
    if isinstance(value, list) and len(value) > 3 and all(isinstance(v, int) for v in value):
        return f"{short} {len(value)} positions from {min(value)} to {max(value)}"
    return f"{short} {value}"


# --- Training data --------------------------------------------------------------------------------


def drawn_from(artifact: Artifact) -> str:
    """Whether the model learned from every client-month with an outcome, or from how large a sample."""
    sample = _sample(artifact)
    if sample is None:
        return "Not on record: the artifact is of an earlier release."
    if sample["learning_curve"] is None:
        return f"All {sample['pool']:,} client-months with outcomes."
    rows = sum(stratum["sample"] for stratum in sample["strata"])
    return (
        f"{rows:,} of {sample['pool']:,} client-months with outcomes: each month and outcome gave its share. "
        + _cost_of(sample, rows)
    )


def _cost_of(sample: dict[str, Any], rows: int) -> str:
    """What the rows that were left out would have added, as far as that can be told."""
    half, bound = sample["learning_curve"][1], sample["auc_loss_at_most"]
    if half["loss_low"] is None or bound is None:
        return "What that costs could not be measured on the held-out clients."
    return (
        f"Half of the {rows:,} would cost logistic regression {half['loss']:.4f} ({half['loss_low']:.4f} to "
        f"{half['loss_high']:.4f}) of held-out ROC AUC; if no further doubling adds more than that, all "
        f"would add at most {bound:.4f}."
    )


def drawn_by_month(artifact: Artifact) -> list[tuple[str, list[int]]]:
    """(month, paid in pool and sample, defaulted in pool and sample) of a sample that was cut."""
    sample = _sample(artifact)
    if not sample or sample["learning_curve"] is None:
        return []
    months: dict[str, list[int]] = {}
    for stratum in sample["strata"]:
        row = months.setdefault(stratum["month"], [0, 0, 0, 0])
        at = 2 * stratum["defaulted"]
        row[at : at + 2] = [stratum["pool"], stratum["sample"]]
    return list(months.items())


# --- Limits ---------------------------------------------------------------------------------------


def limits(card: Card, artifact: Artifact) -> list[str]:
    """What a reader must not expect of the model, from its own facts."""
    return [
        _experience(card),
        _out_of_time(card),
        "Learned from clients who hold a card: refused applicants have no outcome, it says nothing of them.",
        *_few_defaulters(artifact),
        "Reasons tell what raised a score, not what caused a default, nor what would prevent one.",
        *_held_out_doubt(card),
    ]


def _experience(card: Card) -> str:
    months = card.model.training_months
    if len(months) == 1:
        return f"Learned from a single month, {months[0]}: it has seen no other season and no downturn."
    span = f"{len(months)} months, {months[0]} to {months[-1]}"
    return f"Learned from {span}: it has seen no season or downturn outside them."


def _out_of_time(card: Card) -> str:
    live = [r.month for r in card.realised if r.metrics and r.basis == "live"]
    if live:
        count = f"{len(live)} live month{'s' if len(live) > 1 else ''}"
        return f"Held-out clients are of the training months; out of time it was measured on {count}."
    return "Held-out clients are of the training months: out of time it has not been measured yet."


def _few_defaulters(artifact: Artifact) -> list[str]:
    held_out = artifact.manifest.get("training", {}).get("held_out_defaulters")
    if held_out is None or held_out >= 500:
        return []
    return [f"Only {held_out:,} defaulters were held out: its figures are uncertain in the second decimal."]


def _sample(artifact: Artifact) -> dict[str, Any] | None:
    return artifact.manifest.get("facts", {}).get("sample")


def _held_out_doubt(card: Card) -> list[str]:
    auc, newest = card.held_out.get("roc_auc"), card.newest
    realised = newest.metrics.get("roc_auc") if newest else None
    if auc is None or realised is None or auc.value is None or realised.value is None:
        return []
    fall = auc.value - realised.value
    if fall < 0.02 or newest is None:
        return []
    return [f"In {newest.month} it ranked clients worse than held-out ones, by {fall:.3f} of ROC AUC."]


# --- Standing -------------------------------------------------------------------------------------


def how_it_works(model: str) -> str:
    """What kind of model it is, in a sentence."""
    return HOW_IT_WORKS.get(model, f"{model}: a model that this release does not know.")


def policy(attributes: str) -> str:
    """What the policy on protected attributes leaves out, and why."""
    return POLICIES.get(attributes, f"The policy {attributes} is not known to this release.")


def cut_off_rule(rule: str) -> str:
    """How the cut-off was found."""
    return {
        "theoretical": "it follows from the costs alone, for PDs that are right",
        "empirical": "it costs least on the calibration rows",
    }.get(rule, rule)


def standing(card: Card) -> str:
    """Champion or challenger, and in whose place."""
    name = f"{card.model.model} {card.model.version}"
    if card.champion is None:
        return f"{name}: there is no champion yet."
    if card.is_champion:
        return f"{name}: the champion in force since {card.champion.first}."
    was = "was champion before" if card.periods else "has never been champion"
    return f"{name}: not in force, {was}; the champion is {card.champion.model} {card.champion.version}."


def not_judged(card: Card) -> str:
    """Why the gate has no check of the model."""
    if card.judged is not None:
        return f"Not judged: the challenger of its set was {card.judged}."
    if any(p.action == "first" and p.version == card.model.version for p in card.promotions):
        return "Not judged: there was no champion to hold it against."
    return "Not judged: no check of the gate is on record for its set."


def span(period: Period) -> str:
    """`2005-04 to 2005-06`, or `since 2005-04` for the champion in force."""
    if period.still:
        return f"since {period.first}"
    return period.first if period.first == period.last else f"{period.first} to {period.last}"


def history(card: Card) -> list[str]:
    """Its months as champion and the changes that it had part in, newest first; a sentence where none."""
    periods = [f"Champion {span(period)}." for period in reversed(card.periods)]
    return [
        *(periods or ["Never champion: no month has been decided in its favour."]),
        *map(_change, reversed(card.promotions)),
    ]


def _change(change: Promotion) -> str:
    how = {
        "first": "became the first champion",
        "gate": "passed the gate",
        "replacement": "took over from one that could not be used",
        "promote": "was promoted by hand",
        "rollback": "was put back by hand",
    }[change.action]
    before = (
        f" in place of {change.from_model} {change.from_version or ''}".rstrip() if change.from_model else ""
    )
    return (
        f"{change.month}: {change.model} {change.version} {how}{before}, by {change.decided_by} "
        f"at {change.decided_at:%Y-%m-%d %H:%M} UTC: {change.reason}"
    )
