"""A set of models laid out for scoring: what several of them need is computed once, and nothing else is.

The estimators' own `predict_proba` is general; a set that scores millions need not be. The layouts here give,
client by client, what the estimators give:

    logistic regressions   those on the same ranks share the look-up of ranks, which is nearly all their work;
                           their log-odds then are a constant and a parabola a column (within 1e-12).
    boosted trees          a leaf follows from the outcomes of its tree's splits: comparisons of whole columns
                           and one look-up a tree, in the trees' order (to the last digit).
    blends                 from the scores of their members, where these are in the set (to the last digit).
    others                 as they are.

A client's score is the same to the last digit alone and among a million: layouts compute element by element,
and what goes through matrix products does so in tiles of one height.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from creditflow.errors import TrainingDiverged, UsageError
from models.baselines import RankPreparation
from models.blend import BlendClassifier, blend_probabilities
from models.preprocessing import LOOK_UP_ROWS, LookUp, NumericColumn
from models.registry import raw_score
from models.threads import in_threads
from models.trees import LeafTables

# Rows that a thread takes through all models.
PART_ROWS = 65_536
# Matrix products work in tiles of rows, and the last, partly filled tile rounds otherwise than a full one.
TILE_ROWS = 64

Floats = NDArray[np.float64]
Layout = Callable[[Floats], Floats]


class SetScorer:
    """The fitted estimators of a set, by name, prepared once for any number of feature matrices."""

    def __init__(self, estimators: Mapping[str, Any]) -> None:
        self.names = tuple(estimators)
        self._members = {
            name: tuple(blend.estimators_)
            for name, blend in estimators.items()
            if isinstance(blend, BlendClassifier) and _holds_members(estimators, blend)
        }
        self._additive = list(_additive(estimators))
        laid_out = {name for layout in self._additive for name in layout.names} | self._members.keys()
        self._others = {name: _layout(e) for name, e in estimators.items() if name not in laid_out}

    def __call__(self, matrix: Floats) -> dict[str, Floats]:
        """Raw scores (n,) of each model on a feature matrix (n, p) float64: higher = riskier.

        Raises:
            TrainingDiverged: a score is not finite.
        """
        starts = range(0, max(len(matrix), 1), PART_ROWS)
        parts = list(in_threads(lambda start: self._part(matrix[start : start + PART_ROWS]), starts))
        joined = {name: np.concatenate([part[name] for part in parts]) for name in self.names}
        return {name: _finite(name, score) for name, score in joined.items()}

    def _part(self, matrix: Floats) -> dict[str, Floats]:
        found = {name: layout(matrix) for name, layout in self._others.items()}
        for additive in self._additive:
            found |= dict(zip(additive.names, additive(matrix), strict=True))
        for name, members in self._members.items():
            found[name] = blend_probabilities([found[member] for member in members])
        return found


def _holds_members(estimators: Mapping[str, Any], blend: BlendClassifier) -> bool:
    # The very estimators of the set, not merely ones of their names: those could be another version's.
    return all(estimators.get(name) is member for name, member in blend.estimators_.items())


def _finite(name: str, score: Floats) -> Floats:
    if np.isfinite(score).all():
        return score
    raise TrainingDiverged(
        f"model {name}",
        expected="a finite score for every client",
        found=f"{int((~np.isfinite(score)).sum()):,} of {score.size:,} that are not",
        remedy="Retrain the model; if it happens again, leave it out of the settings.",
    )


# ── One estimator ───────────────────────────────────────────────────────────────────────────────


def _layout(estimator: Any) -> Layout:
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    if len(steps) == 1 and isinstance(steps[0], HistGradientBoostingClassifier):
        try:
            tables = LeafTables(steps[0])
        except UsageError:
            # Trees that no table can hold go their own way.
            return lambda matrix: _in_tiles(estimator, matrix)
        return lambda matrix: expit(tables(matrix))
    return lambda matrix: _in_tiles(estimator, matrix)


def _in_tiles(estimator: Any, matrix: Floats) -> Floats:
    padding = np.repeat(matrix[-1:], -len(matrix) % TILE_ROWS, axis=0)
    # Estimators read whole columns: the padded copy keeps each column contiguous.
    padded = np.asfortranarray(np.concatenate([matrix, padding])) if len(padding) else matrix
    return np.asarray(raw_score(estimator, padded), dtype=np.float64)[: len(matrix)]


# ── Logistic regressions ────────────────────────────────────────────────────────────────────────


class Additive:
    """Logistic regressions on ranks, their squares and codes that were prepared alike.

    A prepared column is (v − mean) / scale for v = u, (3u² − 1) / 2 or a code's 0 or 1, with u the rank: so a
    regression adds a parabola in u for each number and one number for each category.
    """

    def __init__(self, names: Sequence[str], ranks: RankPreparation, models: Sequence[Any]) -> None:
        self.names = tuple(names)
        weights = np.stack([model.coef_[0] for model in models]) / ranks.scale_
        ends = 2 * len(ranks.curves_)
        # Columns of the look-up come in an order of its own.
        curves = [NumericColumn(j, "quantile", *curve) for j, curve in enumerate(ranks.curves_)]
        self._look_up = LookUp(curves)
        order = [curve.index for curve in self._look_up.columns]
        self._numbers = ranks.origin_[:ends:2][order]
        self._linear = weights[:, 0:ends:2][:, order]
        self._square = 1.5 * weights[:, 1:ends:2][:, order]
        # Each by itself, so that a model's sums do not depend on the company it keeps.
        self._constant = np.array(
            [
                model.intercept_[0] - float(np.sum(row * ranks.mean_)) - 0.5 * float(np.sum(row[1:ends:2]))
                for model, row in zip(models, weights, strict=True)
            ]
        )
        self._codes = list(_code_steps(ranks, weights[:, ends:]))

    def __call__(self, matrix: Floats) -> Floats:
        """(models, n) probabilities of default of a feature matrix (n, p)."""
        log_odds = np.empty((len(self.names), len(matrix)))
        for start in range(0, len(matrix), LOOK_UP_ROWS):
            rows = slice(start, start + LOOK_UP_ROWS)
            log_odds[:, rows] = self._log_odds(matrix[rows])
        return expit(log_odds)

    def _log_odds(self, matrix: Floats) -> Floats:
        ranks = self._look_up(matrix.T.take(self._numbers, axis=0))
        total = np.repeat(self._constant[:, None], len(matrix), axis=1)
        # Column after column, so that every row is summed in the same order, alone or among many.
        for sums, linear, square in zip(total, self._linear, self._square, strict=True):
            for rank, slope, bend in zip(ranks, linear, square, strict=True):
                sums += (bend * rank + slope) * rank
        for column, edges, added in self._codes:
            total += added.take(np.searchsorted(edges, matrix[:, column], side="left"), axis=1)
        return total


def _code_steps(ranks: RankPreparation, weights: Floats) -> Iterator[tuple[int, Floats, Floats]]:
    """Of each coded column its position, the edges between its categories, (models, categories) weights."""
    sizes = [len(categories) for categories in ranks.categories_]
    parts = np.split(weights, np.cumsum(sizes)[:-1], axis=1)
    for column, categories, added in zip(ranks.code_columns, ranks.categories_, parts, strict=False):
        yield column, (categories[:-1] + categories[1:]) / 2, added


def _additive(estimators: Mapping[str, Any]) -> Iterator[Additive]:
    """The regressions on ranks, those that were prepared alike together."""
    left = {name: e for name, e in estimators.items() if _is_additive(e)}
    while left:
        ranks = next(iter(left.values())).steps[0][1]
        alike = [name for name, e in left.items() if _same_ranks(ranks, e.steps[0][1])]
        yield Additive(alike, ranks, [left.pop(name).steps[-1][1] for name in alike])


def _is_additive(estimator: Any) -> bool:
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else []
    # SMOTE stands between the two in training alone.
    return (
        len(steps) in (2, 3)
        and isinstance(steps[0], RankPreparation)
        and isinstance(steps[-1], LogisticRegression)
        and not any(hasattr(step, "transform") for step in steps[1:-1])
    )


def _same_ranks(one: RankPreparation, other: RankPreparation) -> bool:
    arrays = (_arrays(one), _arrays(other))
    return len(arrays[0]) == len(arrays[1]) and all(map(np.array_equal, *arrays))


def _arrays(ranks: RankPreparation) -> list[np.ndarray]:
    curves = [array for curve in ranks.curves_ for array in curve]
    return [*curves, *ranks.categories_, ranks.origin_, ranks.mean_, ranks.scale_]
