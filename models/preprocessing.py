"""Columns of a design matrix as a network's inputs: fitted once, kept as plain arrays, applied row by row.

Amounts are read in float64 up to the last step: in float32 two amounts that differ can become equal, fall
on the same side of a quantile, and change a score.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from scipy.special import ndtri
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from creditflow.errors import TrainingRefused

Scaling = Literal["quantile", "standard"]

CLIP = 3.0
STANDARD_CLIP = 1e6
# Amounts nearer to zero are zero: between two of them a slope is no finite number.
SMALLEST = 1e-290
MAX_CATEGORIES = 255
# So many rows of all columns stay near the processor while they are looked up.
LOOK_UP_ROWS = 4096


def binary_labels(y: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The two labels, sorted, and y (n,) as 0 and 1; `name` is the estimator's, for the error.

    Raises:
        TrainingRefused: y holds one class only.
        ValueError: more than two classes, or numbers that are no classes.
    """
    check_classification_targets(y)
    kind = type_of_target(y, input_name="y", raise_unknown=True)
    if kind != "binary":
        # The wording is the one that scikit-learn's own checks look for.
        raise ValueError(f"Only binary classification is supported. The type of the target is {kind}.")
    classes, label = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise TrainingRefused(
            f"training of {name}",
            expected="outcomes of two classes",
            found=f"one class only: every label is {classes.tolist()[0]!r}",
            remedy="Add months in which both outcomes occur.",
        )
    return classes, label


# ---- One column ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NumericColumn:
    """One amount, mapped to a number of mean 0 and variance 1 over the training rows.

    Quantile scaling interpolates linearly between `knots` (k,) and their `scores` (k,). Standard scaling has
    two knots, a standard deviation either side of the mean, and goes on in a straight line beyond them, up
    to a million standard deviations.
    """

    index: int
    scaling: Scaling
    knots: np.ndarray
    scores: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        if self.scaling == "quantile":
            return np.interp(values, self.knots, self.scores)
        middle = (self.knots[0] + self.knots[-1]) / 2
        spread = (self.knots[-1] - self.knots[0]) / 2
        # Far beyond any real amount, but an unbounded one would overflow float32 and score as not a number.
        return np.clip((values - middle) / (spread or 1.0), -STANDARD_CLIP, STANDARD_CLIP)

    @property
    def constant(self) -> bool:
        """Whether every training row held the same value."""
        return bool(self.knots[0] == self.knots[-1])

    @classmethod
    def fit_quantile(cls, index: int, values: np.ndarray, knots: int) -> Self:
        """Mid-rank quantiles to normal scores, standardised, clipped to ±3.

        A value that many clients share (an amount of zero) gets the middle of its ranks. About `knots`
        distinct values are kept, evenly spread over the ranks, both ends included.
        """
        amounts = np.where(np.abs(values) < SMALLEST, 0.0, values)
        distinct, counts = np.unique(amounts, return_counts=True)
        rank = (np.cumsum(counts) - counts / 2) / len(values)
        normal = ndtri(rank)
        mean = np.average(normal, weights=counts)
        spread = np.sqrt(np.average((normal - mean) ** 2, weights=counts))
        scores = np.clip((normal - mean) / (spread or 1.0), -CLIP, CLIP)
        grid = np.searchsorted(rank, np.linspace(0, 1, knots), side="left")
        kept = np.unique(np.concatenate([[0], np.minimum(grid, len(distinct) - 1)]))
        return cls(index, "quantile", distinct[kept], scores[kept])

    @classmethod
    def fit_standard(cls, index: int, values: np.ndarray) -> Self:
        """Mean 0 and variance 1 (population variance, as scikit-learn's StandardScaler)."""
        mean, spread = values.mean(), values.std()
        # Summing a column of equal values can leave a spread of rounding errors, which would blow up.
        spread = 0.0 if values.min() == values.max() else spread
        return cls(index, "standard", np.array([mean - spread, mean + spread]), np.array([-1.0, 1.0]))


@dataclass(frozen=True)
class CodeColumn:
    """One coded column with its `categories` (k,), sorted, as met in training.

    A category never met in training is read as the nearest one that was (the lower of two equally near): the
    codes are numbers with an order, and a delay of nine months is best read as the longest delay seen.
    """

    index: int
    categories: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        lower, upper = self.categories[:-1], self.categories[1:]
        # The middle of two neighbouring floats is one of them; the upper is never its own lower side.
        edges = np.minimum((lower + upper) / 2, np.nextafter(upper, -np.inf))
        return np.searchsorted(edges, values, side="left")

    @classmethod
    def fit(cls, index: int, values: np.ndarray) -> Self:
        """Remember the distinct values.

        Raises:
            ValueError: there are more than 255, so that the column is an amount rather than a code.
        """
        categories = np.unique(values)
        if len(categories) > MAX_CATEGORIES:
            raise ValueError(
                f"Column {index} is declared categorical and has {len(categories)} distinct values; "
                f"at most {MAX_CATEGORIES} are taken. Leave it out of categorical_features."
            )
        return cls(index, categories)


# ---- Many columns at once --------------------------------------------------------------------------------


class LookUp:
    """Quantile scaling of many columns at once, to the last digit what `NumericColumn` gives one by one.

    A binary search without branches: every column's knots lie in one array, filled up with infinities to the
    same power of two, and each halving is one comparison over all values. numpy's own search, one value
    after the other, takes four times as long.
    """

    def __init__(self, columns: Sequence[NumericColumn]) -> None:
        # Columns of few knots need few halvings: last come those that need fewest.
        self.columns = tuple(sorted(columns, key=lambda column: -len(column.knots)))
        depths = np.array([(len(column.knots) - 1).bit_length() for column in self.columns], dtype=np.int64)
        self.size = 2 ** int(depths.max(initial=0))
        # (halvings,) the columns that still need it, widest step first.
        self.halvings = [(2**d, int((depths > d).sum())) for d in reversed(range(depths.max(initial=0)))]
        self.knots = self._table(lambda column: column.knots, np.inf)
        self.scores = self._table(lambda column: column.scores, 0.0)
        self.slopes = self._table(_slopes, 0.0)
        self.starts = np.arange(len(self.columns), dtype=np.int64)[:, None] * self.size
        self.lowest = np.array([[column.knots[0]] for column in self.columns]).reshape(-1, 1)
        self.highest = np.array([[column.knots[-1]] for column in self.columns]).reshape(-1, 1)

    def _table(self, values: Callable[[NumericColumn], np.ndarray], filling: float) -> np.ndarray:
        table = np.full((len(self.columns), self.size), filling)
        for row, column in zip(table, self.columns, strict=True):
            found = values(column)
            row[: len(found)] = found
        return table.ravel()

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(columns, n) scores of (columns, n) values, rows in the order of `columns`; overwrites values."""
        np.clip(values, self.lowest, self.highest, out=values)
        place = np.empty(values.shape, dtype=np.int64)
        place[:] = self.starts
        for step, needing in self.halvings:
            here = place[:needing]
            # A place plus the step never leaves its column, so that clipping the index changes nothing.
            above = self.knots[step:].take(here, mode="clip") <= values[:needing]
            here += above * np.int64(step)
        values -= self.knots.take(place, mode="clip")
        values *= self.slopes.take(place, mode="clip")
        values += self.scores.take(place, mode="clip")
        return values


def _slopes(column: NumericColumn) -> np.ndarray:
    """Rise from each knot to the next."""
    return np.diff(column.scores) / np.diff(column.knots)


# ---- All columns -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Encoding:
    """All columns of a matrix (n, p): amounts first, then codes one-hot."""

    numeric: tuple[NumericColumn, ...]
    codes: tuple[CodeColumn, ...]

    @classmethod
    def fit(cls, X: np.ndarray, categorical: Sequence[int], scaling: Scaling, knots: int) -> Self:
        """Learn every column of X (n, p); `categorical` holds the positions of coded columns."""
        amounts = [j for j in range(X.shape[1]) if j not in set(categorical)]
        numeric = [
            NumericColumn.fit_quantile(j, X[:, j], knots)
            if scaling == "quantile"
            else NumericColumn.fit_standard(j, X[:, j])
            for j in amounts
        ]
        return cls(tuple(numeric), tuple(CodeColumn.fit(j, X[:, j]) for j in categorical))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of categories of each coded column."""
        return tuple(len(column.categories) for column in self.codes)

    @property
    def order(self) -> np.ndarray:
        """Positions in X of the encoded columns: amounts, then codes."""
        return np.array([c.index for c in self.numeric] + [c.index for c in self.codes], dtype=np.int64)

    @property
    def constant(self) -> np.ndarray:
        """(p,) which encoded columns never varied in training."""
        return np.array([c.constant for c in self.numeric] + [len(c.categories) == 1 for c in self.codes])

    def amounts(self, X: np.ndarray) -> np.ndarray:
        """(n, number of amounts) float32."""
        scaled = np.empty((len(X), len(self.numeric)), dtype=np.float32)
        for position, column in enumerate(self.numeric):
            if column.scaling == "standard":
                scaled[:, position] = column(X[:, column.index])
        look_up, chosen, places = self._quantiles
        for start in range(0, len(X) if look_up.columns else 0, LOOK_UP_ROWS):
            rows = slice(start, start + LOOK_UP_ROWS)
            values = X[rows].T.take(chosen, axis=0)
            scaled[rows, places] = look_up(values).T
        return scaled

    @cached_property
    def _quantiles(self) -> tuple[LookUp, np.ndarray, np.ndarray]:
        """The look-up of the quantile-scaled amounts, their positions in X and among the amounts."""
        look_up = LookUp([column for column in self.numeric if column.scaling == "quantile"])
        position = {column.index: place for place, column in enumerate(self.numeric)}
        chosen = np.array([column.index for column in look_up.columns], dtype=np.int64)
        places = np.array([position[j] for j in chosen.tolist()], dtype=np.int64)
        return look_up, chosen, places

    def positions(self, X: np.ndarray) -> np.ndarray:
        """(n, number of codes) int64: which category each value is."""
        found = np.empty((len(X), len(self.codes)), dtype=np.int64)
        for position, column in enumerate(self.codes):
            found[:, position] = column(X[:, column.index])
        return found

    def mean_input(self, X: np.ndarray) -> np.ndarray:
        """(amounts + categories,) float64 mean over rows of the encoded columns, codes as shares."""
        positions = self.positions(X)
        shares = [np.bincount(positions[:, i], minlength=size) / len(X) for i, size in enumerate(self.sizes)]
        return np.concatenate([self.amounts(X).mean(axis=0, dtype=np.float64), *shares])

    def by_column(self, encoded: np.ndarray) -> np.ndarray:
        """(n, p) in the order of X from (n, amounts + categories): a code's categories are summed."""
        found = np.empty((len(encoded), len(self.order)), dtype=encoded.dtype)
        found[:, [c.index for c in self.numeric]] = encoded[:, : len(self.numeric)]
        starts = len(self.numeric) + np.cumsum([0, *self.sizes])
        for column, start, end in zip(self.codes, starts[:-1], starts[1:], strict=True):
            found[:, column.index] = encoded[:, start:end].sum(axis=1)
        return found

    # ---- State: plain arrays and JSON ---------------------------------------------------------------------

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays by name, and JSON-able facts that name their columns."""
        tensors = {f"codes.{c.index}.categories": c.categories for c in self.codes}
        for column in self.numeric:
            tensors[f"numeric.{column.index}.knots"] = column.knots
            tensors[f"numeric.{column.index}.scores"] = column.scores
        return tensors, {
            "numeric": [[column.index, column.scaling] for column in self.numeric],
            "codes": [column.index for column in self.codes],
        }

    @classmethod
    def from_state(cls, tensors: dict[str, np.ndarray], meta: dict[str, Any]) -> Self:
        """The encoding that `get_state` described."""
        numeric = [
            NumericColumn(j, scaling, tensors[f"numeric.{j}.knots"], tensors[f"numeric.{j}.scores"])
            for j, scaling in meta["numeric"]
        ]
        codes = [CodeColumn(j, tensors[f"codes.{j}.categories"]) for j in meta["codes"]]
        return cls(tuple(numeric), tuple(codes))
