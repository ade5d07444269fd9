"""Where to refuse: the cut-off of the PD that costs least, in place of one half.

Two errors cost: approving a client who defaults (`missed_default`) and refusing one who would have paid
(`refused_good`). Right decisions cost nothing. For a PD that is calibrated the cut-off of least expected
cost follows from the two alone: refuse where PD ≥ refused_good / (refused_good + missed_default).

Source: Elkan (2001), "The foundations of cost-sensitive learning", IJCAI, equation 2, with the costs of right
decisions at zero.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from creditflow.errors import UsageError

Rule = Literal["theoretical", "empirical"]
# No PD reaches it, so it refuses nobody.
NOBODY = math.nextafter(1.0, math.inf)


@dataclass(frozen=True)
class Costs:
    """What the two errors cost, in any one unit; only their ratio moves the cut-off.

    Raises:
        UsageError: a cost is not a finite number above zero.
    """

    missed_default: float = 5.0
    refused_good: float = 1.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (math.isfinite(value) and value > 0):
                raise UsageError(
                    f"cost of a {name.replace('_', ' ')}",
                    expected="a finite number above zero",
                    found=repr(value),
                    remedy=f"Correct CREDITFLOW_COST_{name.upper()}.",
                )


@dataclass(frozen=True)
class CutOff:
    """A cut-off and what it costs on given rows; every cost is the mean over the clients.

    Args:
        cut_off: clients whose PD reaches it are refused.
        rule: "theoretical" (from the costs alone) or "empirical" (least cost on the rows).
        cost: with the cut-off.
        cost_approving_all: when nobody is refused.
        cost_refusing_all: when everybody is.
        refused: how many of the `rows` are refused; `defaulters` of the rows defaulted.
        costs: of the two errors.
    """

    cut_off: float
    rule: Rule
    cost: float
    cost_approving_all: float
    cost_refusing_all: float
    refused: int
    rows: int
    defaulters: int
    costs: Costs

    def to_state(self) -> dict[str, Any]:
        """Everything `from_state` needs, as JSON keeps it."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The cut-off that `to_state` described.

        Raises:
            ValueError: a field is missing or unknown.
        """
        try:
            return cls(**(state | {"costs": Costs(**state["costs"])}))
        except (KeyError, TypeError) as error:
            raise ValueError(f"no state of a cut-off: {type(error).__name__}: {error}") from error


def cut_off(costs: Costs) -> float:
    """The cut-off of least expected cost for calibrated PDs, in (0, 1) (Elkan 2001)."""
    # Written as a ratio of ratios, because the sum of two large costs could overflow.
    return 1 / (1 + costs.missed_default / costs.refused_good)


def expected_cost(y: ArrayLike, pd: ArrayLike, cut_off: float, costs: Costs) -> float:
    """Mean cost per client when those with PD ≥ `cut_off` are refused.

    Args:
        y: (n,) outcomes, 0 or 1.
        pd: (n,) probabilities of default.

    Raises:
        ValueError: no rows, lengths differ, an outcome is neither 0 nor 1, a PD lies outside [0, 1].
    """
    outcomes, probabilities = _checked(y, pd)
    refused = probabilities >= cut_off
    missed, turned_away = (outcomes & ~refused).sum(), (~outcomes & refused).sum()
    return float(missed * costs.missed_default + turned_away * costs.refused_good) / outcomes.size


def theoretical_cut_off(y: ArrayLike, pd: ArrayLike, costs: Costs) -> CutOff:
    """The cut-off that follows from the costs, and what it costs on these rows.

    Raises:
        ValueError: as `expected_cost`.
    """
    return _cut_off(y, pd, cut_off(costs), "theoretical", costs)


def choose_cut_off(y: ArrayLike, pd: ArrayLike, costs: Costs) -> CutOff:
    """The cut-off of least mean cost on these rows.

    Looked at are cut-offs half-way between neighbouring PDs, the lowest PD (everybody is refused) and one
    above 1 (nobody is). Clients of equal PD are always treated alike. Of several that cost the same the
    highest is taken, which refuses the fewest.

    Raises:
        ValueError: as `expected_cost`.
    """
    outcomes, probabilities = _checked(y, pd)
    levels, level = np.unique(probabilities, return_inverse=True)
    clients = np.bincount(level, minlength=levels.size)
    defaulters = np.bincount(level, weights=outcomes, minlength=levels.size)
    # Entry k: the cost when the k lowest levels are approved and the others refused.
    missed = np.concatenate([[0.0], np.cumsum(defaulters)])
    turned_away = np.concatenate([np.cumsum((clients - defaulters)[::-1])[::-1], [0.0]])
    cost = missed * costs.missed_default + turned_away * costs.refused_good
    # Sums of fractions that ought to be equal differ in their last digits.
    approved = int(np.flatnonzero(cost <= cost.min() * (1 + 1e-12))[-1])
    return _cut_off(y, pd, _between(levels, approved), "empirical", costs)


def _between(levels: NDArray[np.float64], approved: int) -> float:
    if approved == 0:
        return float(levels[0])
    if approved == levels.size:
        return NOBODY
    below, above = float(levels[approved - 1]), float(levels[approved])
    middle = below + (above - below) / 2
    # Between neighbouring numbers there is none, and the lower one must stay approved.
    return middle if middle > below else above


def _cut_off(y: ArrayLike, pd: ArrayLike, at: float, rule: Rule, costs: Costs) -> CutOff:
    outcomes, probabilities = _checked(y, pd)
    return CutOff(
        cut_off=at,
        rule=rule,
        cost=expected_cost(y, pd, at, costs),
        cost_approving_all=expected_cost(y, pd, NOBODY, costs),
        cost_refusing_all=expected_cost(y, pd, 0.0, costs),
        refused=int((probabilities >= at).sum()),
        rows=outcomes.size,
        defaulters=int(outcomes.sum()),
        costs=costs,
    )


def _checked(y: ArrayLike, pd: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    outcomes, probabilities = np.asarray(y), np.asarray(pd, dtype=np.float64)
    if outcomes.ndim != 1 or outcomes.shape != probabilities.shape or not outcomes.size:
        raise ValueError(
            f"outcomes {outcomes.shape} and PDs {probabilities.shape} must be two equal columns with rows"
        )
    if not ((outcomes == 0) | (outcomes == 1)).all():
        raise ValueError("an outcome is neither 0 nor 1")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():  # written so that a NaN fails too
        raise ValueError("a PD lies outside [0, 1] or is not a number")
    return outcomes.astype(bool), probabilities
