"""Trees of histogram gradient boosting by the outcomes of their splits.

A row enters a tree through the outcomes of its splits alone, and a tree of 12 leaves has 11 of them: so
whatever is wanted of a leaf is tabulated once for each of the 2^11 outcomes, and a row then takes 11
comparisons and one look-up per tree, in whole columns. The calls are as few as that allows: between two of
them a thread may have to wait for the interpreter.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from creditflow.errors import UsageError

Floats = NDArray[np.float64]

# At most 2^12 outcomes are tabulated together; a tree with more splits is cut into sets of leaves.
TABLE_SPLITS = 12
# Rows at a time, so that a column stays near the processor.
BLOCK = 32_768
# A single leaf further down than this would need too large a table.
SPLITS_MAX = 16
# What a split's bit counts for within its byte.
_PLACES = np.tile(2 ** np.arange(8, dtype=np.uint8), SPLITS_MAX // 8)[:, None]


@dataclass(frozen=True)
class Condition:
    """A split on the way to a leaf: which node, which way, and the share of its training rows gone there."""

    node: int
    left: bool
    share: float


@dataclass(frozen=True)
class Leaf:
    value: float
    path: tuple[Condition, ...]

    @property
    def share(self) -> float:
        return math.prod(condition.share for condition in self.path)


def leaves_of(nodes: np.ndarray, node: int = 0, path: tuple[Condition, ...] = ()) -> Iterator[Leaf]:
    """The leaves of a tree, from left to right."""
    here = nodes[node]
    if here["is_leaf"]:
        yield Leaf(float(here["value"]), path)
        return
    for child, left in ((int(here["left"]), True), (int(here["right"]), False)):
        share = float(nodes[child]["count"] / here["count"])
        yield from leaves_of(nodes, child, (*path, Condition(node, left, share)))


def parts_of(leaves: Sequence[Leaf]) -> Iterator[list[Leaf]]:
    """Leaves, neighbours together, with at most `TABLE_SPLITS` splits a part."""
    part: list[Leaf] = []
    for leaf in leaves:
        if part and len(splits_of([*part, leaf])) > TABLE_SPLITS:
            yield part
            part = []
        part.append(leaf)
    yield part


def splits_of(leaves: Sequence[Leaf]) -> tuple[int, ...]:
    return tuple(sorted({condition.node for leaf in leaves for condition in leaf.path}))


# ── Outcomes of splits ──────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Splits:
    """Nodes of a tree as tests of columns; bit 0 of an outcome says whether a row goes left at the first."""

    columns: tuple[int, ...]
    thresholds: tuple[float, ...]
    missing_left: tuple[bool, ...]

    @classmethod
    def of(cls, nodes: np.ndarray, chosen: Sequence[int]) -> "Splits":
        found = nodes[list(chosen)]
        return cls(
            tuple(map(int, found["feature_idx"])),
            tuple(map(float, found["num_threshold"])),
            tuple(map(bool, found["missing_go_to_left"])),
        )


def went_left(splits: Sequence[int]) -> dict[int, NDArray[np.bool_]]:
    """For each of the s nodes (2^s,) under which outcomes a row goes left at it."""
    left = (np.arange(2 ** len(splits)) >> np.arange(len(splits))[:, None]) & 1 == 1
    return dict(zip(splits, left, strict=True))


def gaps_in(columns: Floats) -> NDArray[np.bool_]:
    """(p,) which of the columns (p, n) have gaps: comparisons need no second thought about the others."""
    return np.asarray(np.isnan(columns).any(axis=1))


class Workspace:
    """Arrays that every tree of a block writes over: fresh ones would cost more than what is computed."""

    def __init__(self, rows: int) -> None:
        self.gathered = np.empty(rows)
        self._left = np.empty((SPLITS_MAX, rows), dtype=bool)
        self._byte = np.empty(rows, dtype=np.uint8)
        self._outcome = np.empty(rows, dtype=np.intp)

    def outcome(self, columns: Floats, gaps: NDArray[np.bool_], splits: Splits) -> NDArray[np.intp]:
        """(n,) which of the 2^s outcomes of the splits each row of the columns (p, n) has."""
        tests = zip(self._left, splits.columns, splits.thresholds, splits.missing_left, strict=False)
        for left, place, threshold, missing_left in tests:
            np.less_equal(columns[place], threshold, out=left)
            if missing_left and gaps[place]:
                left |= np.isnan(columns[place])
        return self._joined(len(splits.columns))

    def _joined(self, splits: int) -> NDArray[np.intp]:
        """The first so many bits, from the lowest up, as one number a row; overwrites them."""
        # Bytes are put together without being made wider one by one, which takes most of the time.
        bits = self._left[:splits].view(np.uint8)
        np.multiply(bits, _PLACES[:splits], out=bits)
        self._outcome[:] = np.bitwise_or.reduce(bits[8:], axis=0, out=self._byte)
        np.left_shift(self._outcome, 8, out=self._outcome)
        np.bitwise_or.reduce(bits[:8], axis=0, out=self._byte)
        return np.bitwise_or(self._outcome, self._byte, out=self._outcome)


# ── Scores ──────────────────────────────────────────────────────────────────────────────────────


class LeafTables:
    """The log-odds of a binary classifier, to the last digit what `decision_function` gives.

    Raises:
        UsageError: a leaf lies further down than `SPLITS_MAX` splits, or columns are categorical.
    """

    def __init__(self, classifier: HistGradientBoostingClassifier) -> None:
        refuse_categorical(classifier)
        self._baseline = float(classifier._baseline_prediction[0, 0])
        self._tables = [
            _leaf_table(part, predictor.nodes)
            for (predictor,) in classifier._predictors
            for part in parts_of(list(leaves_of(predictor.nodes)))
        ]

    def __call__(self, matrix: Floats) -> Floats:
        """(n,) of a feature matrix (n, p) float64."""
        columns, log_odds = np.asfortranarray(matrix).T, np.empty(len(matrix))
        for start in range(0, len(matrix), BLOCK):
            rows = slice(start, start + BLOCK)
            log_odds[rows] = self._block(columns[:, rows])
        return log_odds

    def _block(self, columns: Floats) -> Floats:
        rows = columns.shape[1]
        gaps, work, total = gaps_in(columns), Workspace(rows), np.full(rows, self._baseline)
        for splits, values in self._tables:
            np.take(values, work.outcome(columns, gaps, splits), out=work.gathered, mode="clip")
            total += work.gathered
        return total


def _leaf_table(leaves: Sequence[Leaf], nodes: np.ndarray) -> tuple[Splits, Floats]:
    """The splits of a part of a tree, and (2^s,) the value of the leaf that each outcome leads to.

    An outcome that leads to a leaf of another part adds nothing.
    """
    chosen = splits_of(leaves)
    refuse_depth(chosen)
    left = went_left(chosen)
    values = np.zeros(2 ** len(chosen))
    for leaf in leaves:
        reached = np.logical_and.reduce([left[c.node] == c.left for c in leaf.path] or [np.ones(1, bool)])
        values[reached] = leaf.value
    return Splits.of(nodes, chosen), values


def refuse_depth(splits: Sequence[int]) -> None:
    """Refuse a part of a tree whose outcomes are too many to tabulate."""
    if len(splits) > SPLITS_MAX:
        raise _refused(
            f"at most {SPLITS_MAX} splits on the way to a leaf",
            f"{len(splits)}",
            "Limit the depth of the trees.",
        )


def refuse_categorical(classifier: HistGradientBoostingClassifier) -> None:
    """Refuse categorical columns: scikit-learn moves them to the front and codes them anew."""
    if classifier.is_categorical_ is not None:
        raise _refused("no categorical columns", "some", "Give codes as the ordered numbers that they are.")


def _refused(expected: str, found: str, remedy: str) -> UsageError:
    return UsageError("tabulation of boosted trees", expected=expected, found=found, remedy=remedy)
