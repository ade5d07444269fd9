"""What has to be known of all rows at once, from one number of 64 bits a row."""

import numpy as np
import polars as pl


def hashes(rows: pl.LazyFrame, value: pl.Expr) -> np.ndarray:
    """(n,) uint64: `value` of every row, 8 bytes a row."""
    return rows.select(value.alias("hash")).collect(engine="streaming")["hash"].to_numpy()


def repeated_hashes(values: np.ndarray) -> pl.Series:
    """Those that occur more than once, each once."""
    ordered = np.sort(values)
    return pl.Series("hash", np.unique(ordered[1:][ordered[1:] == ordered[:-1]]), pl.UInt64)


class IdSet:
    """Client IDs by two hashes of 64 bits each, 16 bytes an ID.

    Among 10^8 IDs the probability that any that is not in the set is taken for one that is lies below 10^-20.
    """

    SEEDS = (0, 1)

    def __init__(self, ids: pl.LazyFrame, name: str) -> None:
        first, second = (hashes(ids, pl.col(name).hash(seed)) for seed in self.SEEDS)
        order = np.argsort(first)
        self._first, self._second = first[order], second[order]

    def holds(self, ids: pl.Series) -> pl.Series:
        """(n,) Int8, 1 where the ID is in the set; a missing ID never is."""
        if not len(self._first):
            return pl.zeros(ids.len(), pl.Int8, eager=True)
        first, second = (ids.hash(seed).to_numpy() for seed in self.SEEDS)
        # In their order: looked up as they come, each would have to be fetched from memory by itself.
        order = np.argsort(first)
        found = np.zeros(len(first), bool)
        found[order] = self._pairs(first[order], second[order])
        return pl.Series(found).cast(pl.Int8) * ids.is_not_null().cast(pl.Int8)

    def _pairs(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """(n,) whether the pair of hashes is one of the set's; `first` ascending."""
        place, last = np.searchsorted(self._first, first), len(self._first) - 1
        found = np.zeros(len(first), bool)
        # Two IDs of the set may share their first hash: it stands twice then.
        for here in (np.minimum(place, last), np.minimum(place + 1, last)):
            found |= (self._first[here] == first) & (self._second[here] == second)
        return found
