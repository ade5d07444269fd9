"""From a client frame to the design matrix that every estimator takes: the study's 23 attributes.

The matrix holds raw values. Each estimator does its own scaling and coding, so that an artifact needs nothing
beside itself.
"""

import numpy as np
import polars as pl

from creditflow.columns import ATTRIBUTE_NAMES, CODE_NAMES
from creditflow.errors import ContentRefused, HeaderRefused

# Positions of sex, education, marriage and pay_1 … pay_6 in the design matrix.
CATEGORICAL_INDICES: tuple[int, ...] = tuple(ATTRIBUTE_NAMES.index(name) for name in CODE_NAMES)


def design_matrix(frame: pl.DataFrame) -> np.ndarray:
    """The attributes of every client as numbers.

    Args:
        frame: one row a client with at least the columns `ATTRIBUTE_NAMES`, all numeric; others are ignored.

    Returns:
        (n, 23) float64 in the order of `ATTRIBUTE_NAMES`, row for row as in the frame.

    Raises:
        HeaderRefused: columns are missing, or hold no numbers.
        ContentRefused: a value is null, NaN or infinite; the first one's row (from 1) and column are named.
    """
    _refuse_columns(frame)
    numbers = frame.select(pl.col(ATTRIBUTE_NAMES).cast(pl.Float64))
    matrix = np.empty((frame.height, len(ATTRIBUTE_NAMES)))
    for index, name in enumerate(ATTRIBUTE_NAMES):
        matrix[:, index] = numbers[name].to_numpy()
    _refuse_values(frame, matrix)
    return matrix


def _refuse_columns(frame: pl.DataFrame) -> None:
    missing = [name for name in ATTRIBUTE_NAMES if name not in frame.columns]
    present = [(name, frame.schema[name]) for name in ATTRIBUTE_NAMES if name not in missing]
    texts = [f"{name} is {dtype}" for name, dtype in present if not dtype.is_numeric()]
    if missing or texts:
        raise HeaderRefused(
            "client frame",
            expected=f"the {len(ATTRIBUTE_NAMES)} attributes as numeric columns",
            found="; ".join(([f"no column {', '.join(missing)}"] if missing else []) + texts),
            remedy="Load the clients through the data contract, which names and types every column.",
        )


def _refuse_values(frame: pl.DataFrame, matrix: np.ndarray) -> None:
    # A null reads as NaN in a float matrix, so that one pass sees every kind of gap.
    if np.isfinite(matrix).all():
        return
    rows, columns = np.nonzero(~np.isfinite(matrix))
    row, name = int(rows[0]), ATTRIBUTE_NAMES[columns[0]]
    more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    raise ContentRefused(
        f"client frame, row {row + 1}, column {name}",
        expected="a finite number",
        found=f"{frame[name][row]}{more}".replace("None", "null"),
        remedy="Such rows belong in quarantine: validate the file before scoring it.",
    )
