"""The targets of the model comparison, each judged from the figures kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Results = Mapping[str, Any]
Read = Callable[[Results, str], float | None]


@dataclass(frozen=True)
class Target:
    """One bound: `read(results, policy)` gives the figure, or None where it was not measured.

    `at_least` tells on which side of `bound` the figure has to lie; `shown` formats it.
    """

    text: str
    read: Read
    bound: float
    at_least: bool = True
    # One digit more than the bound has: 0.78596 is not 0.7860.
    shown: str = ".5f"

    def verdict(self, results: Results, policy: str) -> str:
        """The figure and whether the target is met, in words."""
        value = self.read(results, policy)
        if value is None:
            return "not measured"
        met = value >= self.bound if self.at_least else value <= self.bound
        return f"{format(value, self.shown)}: {'met' if met else '**not met**'}"


def figure(name: str, protocol: str, key: str) -> Read:
    """A figure of one of our models."""

    def read(results: Results, policy: str) -> float | None:
        run = results["runs"].get(f"{name}|features|{policy}|{protocol}", {})
        return run.get("figures", {}).get(key, run.get(key))

    return read


def at_cut(name: str, key: str) -> Read:
    """A figure of one of our models at the cut for the study's recall."""
    return lambda results, policy: results.get("cuts", {}).get(policy, {}).get(name, {}).get(key)


def ahead(name: str, peer: str, bound: str) -> Read:
    """How far one of our models is ahead of a peer on CV: `value` of the difference, or its `low` end."""

    def read(results: Results, policy: str) -> float | None:
        found = results.get("differences", {}).get("CV", {}).get(f"{name}|features|{policy}", {})
        return found.get(peer.format(policy=policy), {}).get(bound)

    return read


def _seconds(results: Results, policy: str) -> float | None:
    # The set is developed under the default policy, as the monthly run does.
    return results.get("monthly_set", {}).get("seconds") if policy == "unprotected" else None


TARGETS: tuple[Target, ...] = (
    Target("VAE with a head, CV: ROC AUC ≥ 0.7910", figure("vae_supervised", "CV", "roc_auc"), 0.7910),
    Target("Blend, CV: ROC AUC ≥ 0.7920", figure("blend", "CV", "roc_auc"), 0.7920),
    Target("Blend, S: ROC AUC ≥ 0.7860", figure("blend", "S", "roc_auc"), 0.7860),
    Target("Blend, CV: Brier score ≤ 0.1325", figure("blend", "CV", "brier"), 0.1325, at_least=False),
    Target("Blend, S, at a recall of 0.62: precision ≥ 0.48", at_cut("blend", "precision"), 0.48),
    Target("Blend, S, at a recall of 0.62: accuracy ≥ 0.77", at_cut("blend", "accuracy"), 0.77),
    Target("One-class VAE, no outcomes, CV: ROC AUC ≥ 0.70", figure("vae_anomaly", "CV", "roc_auc"), 0.70),
    Target("Likelihood ratio, CV: ROC AUC ≥ 0.765", figure("vae_ratio", "CV", "roc_auc"), 0.765),
    Target(
        "Blend above CatBoost on all raw columns, CV: low end of the interval > 0",
        ahead("blend", "catboost|raw|all", "low"),
        1e-9,
        shown="+.4f",
    ),
    Target(
        "Blend above XGBoost on all raw columns, CV: low end of the interval > 0",
        ahead("blend", "xgboost|raw|all", "low"),
        1e-9,
        shown="+.4f",
    ),
    Target(
        "Blend not below XGBoost on the same features, CV: difference ≥ 0",
        ahead("blend", "xgboost|features|{policy}", "value"),
        0.0,
        shown="+.4f",
    ),
    Target(
        "Developing the whole monthly set: ≤ 90 s at 30,000 clients",
        _seconds,
        90,
        at_least=False,
        shown=".1f",
    ),
    Target(
        "VAE with a head scores ≥ 400,000 rows/s from raw columns",
        figure("vae_supervised", "S", "rows_per_second"),
        400_000,
        shown=",.0f",
    ),
    Target("Stretch. Blend, CV: ROC AUC ≥ 0.7950", figure("blend", "CV", "roc_auc"), 0.7950),
    Target("Stretch. Blend, S: ROC AUC ≥ 0.7900", figure("blend", "S", "roc_auc"), 0.7900),
)
