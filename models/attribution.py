"""Why a classifier gives a client its log-odds of default: additive contributions of columns or groups.

    log-odds of default = base + sum of the contributions

A *player* is what a contribution belongs to: a single column, or a group of columns that are known or unknown
together. Where several columns say nearly the same thing, the contribution of the group is what can be told
to a person; it is the Shapley value of the group itself, not a sum over its columns.

    logistic regression     exact: coefficient × (encoded value − its mean over the training rows), summed
                            over the player's encoded columns. The base is the log-odds of the mean row.
    boosted trees           exact Shapley values of the trees' expectation given the known players, where an
                            unknown split sends a client both ways in the proportions of the training rows
                            (path-dependent TreeSHAP: Lundberg et al. 2020, Nature Machine Intelligence 2,
                            56–67). The base is the mean log-odds that the trees give their training rows.
    VAE                     what the classifier itself attributes to its columns, summed over the player.
    blend                   the mean of the members' contributions and bases, as its log-odds is theirs.

How the trees are done. Take a leaf of value v with m players on the way to it; o_k = 1 where the conditions
of player k on that way are met, else 0; z_k the share of the training rows that meet them, node by node. The
Shapley value of player j is an integral over the multilinear extension of the game (Owen 1972, Management
Science 18, P64–79),

    φ_j = v (o_j − z_j) ∫₀¹ ∏_{k≠j} (z_k (1 − t) + o_k t) dt,

of a polynomial of degree m − 1, which Gauss–Legendre quadrature on ⌈m/2⌉ points integrates exactly. A client
enters through the outcomes of the tree's splits alone, which are tabulated (`models.trees`): explaining a
client takes 11 comparisons, and one look-up a player, per tree. On 300 such trees a million clients take 3
seconds of one core by the groups of the reasons and 7 by column; shap's TreeExplainer, compiled C that knows
no groups, takes 230, and gives the same values by column to 1e-14. Hence shap is no dependency.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from creditflow.errors import UsageError
from models.baselines import RankPreparation
from models.blend import BlendClassifier
from models.trees import (
    Leaf,
    Splits,
    Workspace,
    gaps_in,
    leaves_of,
    parts_of,
    refuse_categorical,
    refuse_depth,
    splits_of,
    went_left,
)
from models.vae import VAEClassifier

Floats = NDArray[np.float64]
Players = NDArray[np.intp]

# Rows at a time: bounds the memory, and keeps a block's columns near the processor.
BLOCK = 32_768


@dataclass(frozen=True)
class Attribution:
    """Contributions to the log-odds of default: `base` + `values.sum(axis=1)` is the classifier's log-odds.

    values: (n, players) float64. A row's values are the same to the last digit, alone or among others.
    """

    base: float
    values: np.ndarray


class Explainer(Protocol):
    """A classifier prepared for explanation."""

    base: float
    players: int

    def values(self, X: np.ndarray) -> np.ndarray:
        """(n, players) contributions of a block of rows."""


def contributions(estimator: Any, X: np.ndarray, groups: Sequence[int] | None = None) -> Attribution:
    """What each player adds to the log-odds of every row.

    Args:
        estimator: a fitted classifier of the monthly set.
        X: (n, p) float64 feature matrix.
        groups: the player, from 0, of each of the p columns; without it each column is a player.

    Raises:
        UsageError: there is no attribution for this kind of estimator, or `groups` does not fit it.
    """
    X = np.asarray(X, dtype=np.float64)
    return attribute(prepare(estimator, X.shape[1], groups), X)


def attribute(explainer: Explainer, X: np.ndarray) -> Attribution:
    """The same by an explainer that is already prepared, block by block."""
    values = np.empty((len(X), explainer.players))
    for start in range(0, len(X), BLOCK):
        values[start : start + BLOCK] = explainer.values(X[start : start + BLOCK])
    return Attribution(explainer.base, values)


def unexplained(estimator: Any) -> str | None:
    """Why there are no contributions for this kind of estimator; None where there are."""
    if isinstance(estimator, BlendClassifier):
        return next((reason for member in _members(estimator) if (reason := unexplained(member))), None)
    classifier = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if isinstance(classifier, LogisticRegression | HistGradientBoostingClassifier | VAEClassifier):
        return None
    return (
        f"{type(classifier).__name__} has no additive contributions to a log-odds; "
        "its clients are described by their most unusual columns alone"
    )


def prepare(estimator: Any, columns: int, groups: Sequence[int] | None = None) -> Explainer:
    """An explainer of a fitted classifier, for a feature matrix of so many columns.

    Preparing 300 trees takes about half a second; an explainer may then be used on any number of blocks.

    Raises:
        UsageError: as in `contributions`.
    """
    players = _players(columns, groups)
    reason = unexplained(estimator)
    if reason is not None:
        raise UsageError(
            "explanation of scores",
            expected="a classifier with additive contributions",
            found=reason,
            remedy="Explain another model of the registry.",
        )
    return _prepare(estimator, players)


def _players(columns: int, groups: Sequence[int] | None) -> Players:
    """The player of each column; a number that no column has is a player who adds nothing."""
    players = np.arange(columns) if groups is None else np.asarray(groups, dtype=np.intp)
    if players.shape != (columns,) or players.min(initial=0) < 0:
        raise UsageError(
            "groups of columns",
            expected=f"a group, counted from 0, for each of {columns} columns",
            found=f"{len(players)} groups, the lowest {players.min(initial=0)}",
            remedy="Give every column of the feature matrix to one group.",
        )
    return players


def _count(players: Players) -> int:
    return int(players.max(initial=-1)) + 1


def _prepare(estimator: Any, players: Players) -> Explainer:
    if isinstance(estimator, BlendClassifier):
        return _MeanExplainer([_prepare(member, players) for member in _members(estimator)])
    if isinstance(estimator, VAEClassifier):
        return _OwnExplainer(estimator, players)
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    encoders = [step for step in steps[:-1] if hasattr(step, "transform")]
    if isinstance(steps[-1], LogisticRegression):
        return _LinearExplainer(encoders, steps[-1], players)
    if encoders:
        _refuse_steps("boosted trees", encoders, "none: trees take the columns as they are")
    return _TreesExplainer(steps[-1], players)


def _members(blend: BlendClassifier) -> list[Any]:
    return list(blend.estimators_.values())


def _refuse_steps(model: str, encoders: list[Any], expected: str) -> None:
    raise UsageError(
        f"explanation of {model}",
        expected=f"preparing steps: {expected}",
        found=", ".join(type(step).__name__ for step in encoders),
        remedy="Teach models/attribution.py to lead such columns back to those of the feature matrix.",
    )


# ── Blend and VAE ───────────────────────────────────────────────────────────────────────────────


class _MeanExplainer:
    """The mean of the members' contributions."""

    def __init__(self, members: Sequence[Explainer]) -> None:
        self._members, self.players = members, members[0].players
        self.base = sum(member.base for member in members) / len(members)

    def values(self, X: Floats) -> Floats:
        total = self._members[0].values(X)
        for member in self._members[1:]:
            total += member.values(X)
        total /= len(self._members)
        return total


class _OwnExplainer:
    """What a VAE attributes to its columns, summed over each player."""

    def __init__(self, estimator: VAEClassifier, players: Players) -> None:
        self._estimator, self._player_of, self.players = estimator, players, _count(players)
        self.base = float(estimator.contributions(np.zeros((1, len(players))))[0])

    def values(self, X: Floats) -> Floats:
        return _summed(self._estimator.contributions(X)[1], self._player_of, self.players)


def _summed(columns: Floats, player_of: Players, players: int) -> Floats:
    """(n, players) of (n, p): column after column, so that every row is summed in the same order."""
    total = np.zeros((players, len(columns)))
    for column, player in enumerate(player_of):
        total[player] += columns[:, column]
    return total.T


# ── Logistic regression ─────────────────────────────────────────────────────────────────────────


class _LinearExplainer:
    """Coefficients times columns of mean 0 over the training rows, so that the base is the intercept."""

    def __init__(self, encoders: list[Any], classifier: LogisticRegression, players: Players) -> None:
        if len(encoders) != 1 or not isinstance(encoders[0], RankPreparation | StandardScaler):
            _refuse_steps("logistic regression", encoders, "RankPreparation or StandardScaler, which centre")
        self._encoder, self._coefficients = encoders[0], classifier.coef_[0]
        origin = getattr(self._encoder, "origin_", np.arange(len(players)))
        self._player_of, self.players = players[origin], _count(players)
        self.base = float(classifier.intercept_[0])

    def values(self, X: Floats) -> Floats:
        return _summed(self._encoder.transform(X) * self._coefficients, self._player_of, self.players)


# ── Boosted trees ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Table:
    """Leaves tabulated together.

    splits: those whose outcomes decide about these leaves. players: the m players at these splits.
    values: (m, 2^s), what each adds under each outcome.
    """

    splits: Splits
    players: tuple[int, ...]
    values: Floats


class _TreesExplainer:
    """Shapley values of histogram gradient boosting under the path-dependent expectation."""

    def __init__(self, classifier: HistGradientBoostingClassifier, players: Players) -> None:
        refuse_categorical(classifier)
        self.players = _count(players)
        self._trees: list[list[_Table]] = []
        self.base = float(classifier._baseline_prediction[0, 0])
        for (predictor,) in classifier._predictors:
            nodes = predictor.nodes
            leaves = list(leaves_of(nodes))
            self.base += sum(leaf.value * leaf.share for leaf in leaves)
            self._trees.append([_table(part, nodes, players) for part in parts_of(leaves)])

    def values(self, X: Floats) -> Floats:
        columns = np.asfortranarray(X).T
        gaps, work = gaps_in(columns), Workspace(len(X))
        total = np.zeros((self.players, len(X)))
        for table in chain.from_iterable(self._trees):
            outcome = work.outcome(columns, gaps, table.splits)
            for player, values in zip(table.players, table.values, strict=True):
                np.take(values, outcome, out=work.gathered, mode="clip")
                total[player] += work.gathered
        return total.T


def _table(leaves: Sequence[Leaf], nodes: np.ndarray, players: Players) -> _Table:
    splits = splits_of(leaves)
    refuse_depth(splits)
    player_of = {node: int(players[nodes[node]["feature_idx"]]) for node in splits}
    met = tuple(sorted(set(player_of.values())))
    left = went_left(splits)
    values = np.zeros((len(met), 2 ** len(splits)))
    for leaf in leaves:
        for player, added in _leaf_values(leaf, player_of, left):
            values[met.index(player)] += added
    return _Table(Splits.of(nodes, splits), met, values)


def _leaf_values(
    leaf: Leaf, player_of: dict[int, int], left: dict[int, NDArray[np.bool_]]
) -> Iterator[tuple[int, Floats]]:
    """Each player on the path and the (2^s,) values that this leaf gives it under every outcome."""
    found = sorted({player_of[condition.node] for condition in leaf.path})
    code = np.zeros(next(iter(left.values()), np.zeros(1)).shape, dtype=np.intp)
    shares = np.ones(len(found))
    for position, player in enumerate(found):
        own = [condition for condition in leaf.path if player_of[condition.node] == player]
        shares[position] = np.prod([condition.share for condition in own])
        satisfied = np.logical_and.reduce([left[c.node] == c.left for c in own])
        code |= satisfied.astype(np.intp) << position
    for player, values in zip(found, leaf.value * shapley_values(shares), strict=True):
        yield player, values[code]


def shapley_values(shares: Floats) -> Floats:
    """Shapley values of the product game of a leaf of value 1.

    Args:
        shares: (m,) above 0, what each player counts for when unknown; known, it counts 1 or 0.

    Returns:
        (m, 2^m) each player's value when the players whose bits are set (bit 0 first) count 1.
    """
    m = len(shares)
    met = ((np.arange(2**m) >> np.arange(m)[:, None]) & 1).astype(float)
    z = shares[:, None]
    values = np.zeros((m, 2**m))
    for t, weight in _quadrature((m + 1) // 2):
        factors = z * (1 - t) + met * t
        # Every factor is above 0, as t is below 1.
        values += weight * np.prod(factors, axis=0) / factors
    return values * (met - z)


@cache
def _quadrature(count: int) -> tuple[tuple[float, float], ...]:
    """Points and weights of Gauss and Legendre on [0, 1]."""
    points, weights = np.polynomial.legendre.leggauss(count) if count else (np.empty(0), np.empty(0))
    return tuple(zip((points + 1) / 2, weights / 2, strict=True))
