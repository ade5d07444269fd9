"""From client frames to the numbers that models take.

Two matrices, both float64. The *feature matrix* of a `FeatureSet` is what every model of the monthly run
takes: the raw amounts, 55 features computed from them, and the coded columns with rare codes merged. The
*attribute matrix* holds the study's 23 attributes as they stand. An estimator does its own scaling and
coding, so that an artifact needs nothing beside itself.

Statement 1 is the newest. A payment of statement t settles the bill of statement t + 1. Limits, and bills
that payments are held against, count as at least 1 where they divide, so zero and negative balances give
finite numbers.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import polars as pl

from creditflow.columns import AMOUNT_NAMES, ATTRIBUTE_NAMES, CODE_NAMES, STATEMENTS
from creditflow.errors import ContentRefused, HeaderRefused, UsageError

Policy = Literal["unprotected", "all"]

# The default policy keeps these out of every model; they are stored for monitoring.
PROTECTED: tuple[str, ...] = ("sex", "marriage", "age")

# A payment of more than twice the bill tells no more than one of twice the bill.
PAYMENT_RATIO_LIMIT = 2.0
# A delay weighs 0.7 of one a month newer.
RECENCY = 0.7
STATUS_LOWEST, STATUS_HIGHEST = -2, 3

# Positions of sex, education, marriage and pay_1 … pay_6 in the attribute matrix.
CATEGORICAL_INDICES: tuple[int, ...] = tuple(ATTRIBUTE_NAMES.index(name) for name in CODE_NAMES)


@dataclass(frozen=True)
class Feature:
    """One computed column: `definition` says in words and symbols what `expression` computes.

    Symbols: L limit, B_t bill, P_t payment, S_t payment status of statement t; max(x, 1) where x divides.
    """

    name: str
    unit: str
    definition: str
    expression: pl.Expr


# ── Definitions ─────────────────────────────────────────────────────────────────────────────────


def _bill(t: int) -> pl.Expr:
    return pl.col(f"bill_amt{t}")


def _payment(t: int) -> pl.Expr:
    return pl.col(f"pay_amt{t}")


def _status(t: int) -> pl.Expr:
    return pl.col(f"pay_{t}")


def _delay(t: int) -> pl.Expr:
    return _status(t).clip(lower_bound=0)


def _over_limit(amount: pl.Expr) -> pl.Expr:
    return amount / pl.col("limit_bal").clip(lower_bound=1)


def _owed(t: int) -> pl.Expr:
    return _bill(t).clip(lower_bound=0)


def _utilisation(t: int) -> pl.Expr:
    return _over_limit(_bill(t))


def _payment_ratio(t: int) -> pl.Expr:
    # Nobody falls behind on a bill of nothing, which therefore counts as paid in full.
    ratio = (_payment(t) / _owed(t + 1).clip(lower_bound=1)).clip(upper_bound=PAYMENT_RATIO_LIMIT)
    return pl.when(_bill(t + 1) > 0).then(ratio).otherwise(1.0)


def _implied_spend(t: int) -> pl.Expr:
    return _over_limit(_bill(t) - _bill(t + 1) + _payment(t))


def _count(conditions: Iterable[pl.Expr]) -> pl.Expr:
    return pl.sum_horizontal([condition.cast(pl.Float64) for condition in conditions])


def _mean(parts: Iterable[pl.Expr]) -> pl.Expr:
    terms = list(parts)
    # Polars divides a column of one row otherwise than a longer one; a product is the same in both.
    return pl.sum_horizontal(terms) * (1 / len(terms))


def _trend(parts: Iterable[pl.Expr]) -> pl.Expr:
    terms = list(parts)
    return _mean(terms[:3]) - _mean(terms[3:])


def _months_since_delay() -> pl.Expr:
    since = pl.lit(6.0)
    for t in reversed(STATEMENTS):
        since = pl.when(_status(t) >= 1).then(float(t - 1)).otherwise(since)
    return since


def _each(
    prefix: str, unit: str, definition: str, make: Callable[[int], pl.Expr], statements: Iterable[int]
) -> list[Feature]:
    return [
        Feature(f"{prefix}_{t}", unit, definition.replace("{t}", str(t)).replace("{u}", str(t + 1)), make(t))
        for t in statements
    ]


_ALL = list(STATEMENTS)
_PAIRS = _ALL[:-1]

_UTILISATION = [
    *_each("utilisation", "ratio", "B_{t} / L", _utilisation, _ALL),
    Feature("utilisation_mean", "ratio", "mean of B_t / L over t = 1…6", _mean(map(_utilisation, _ALL))),
    Feature(
        "utilisation_max",
        "ratio",
        "largest B_t / L",
        _over_limit(pl.max_horizontal([_bill(t) for t in _ALL])),
    ),
    Feature(
        "utilisation_min",
        "ratio",
        "smallest B_t / L",
        _over_limit(pl.min_horizontal([_bill(t) for t in _ALL])),
    ),
    Feature(
        "utilisation_trend",
        "ratio",
        "mean of B_t / L over t = 1…3 minus that over t = 4…6",
        _trend(map(_utilisation, _ALL)),
    ),
    Feature("utilisation_change", "ratio", "B_1 / L − B_2 / L", _utilisation(1) - _utilisation(2)),
    Feature("headroom", "currency", "L − B_1", pl.col("limit_bal") - _bill(1)),
]

_PAYMENT_RATIOS = [
    *_each(
        "payment_ratio",
        "ratio",
        "min(P_{t} / B_{u}, 2) where B_{u} > 0, else 1",
        _payment_ratio,
        _PAIRS,
    ),
    Feature(
        "payment_ratio_mean",
        "ratio",
        "mean of the payment ratios over t = 1…5",
        _mean(map(_payment_ratio, _PAIRS)),
    ),
    Feature(
        "payment_ratio_total",
        "ratio",
        "min(ΣP_t over t = 1…5 / Σmax(B_t, 0) over t = 2…6, 2) where one of these bills is above 0, else 1",
        pl.when(pl.max_horizontal([_bill(t + 1) for t in _PAIRS]) > 0)
        .then(
            (
                pl.sum_horizontal([_payment(t) for t in _PAIRS])
                / pl.sum_horizontal([_owed(t + 1) for t in _PAIRS]).clip(lower_bound=1)
            ).clip(upper_bound=PAYMENT_RATIO_LIMIT)
        )
        .otherwise(1.0),
    ),
    *_each("payment_over_limit", "ratio", "P_{t} / L", lambda t: _over_limit(_payment(t)), _ALL),
    Feature(
        "payment_over_limit_mean",
        "ratio",
        "mean of P_t / L over t = 1…6",
        _mean(_over_limit(_payment(t)) for t in _ALL),
    ),
]

_SPEND = [
    *_each("implied_spend", "ratio", "(B_{t} − B_{u} + P_{t}) / L", _implied_spend, _PAIRS),
    Feature(
        "implied_spend_mean",
        "ratio",
        "mean of the implied spends over t = 1…5",
        _mean(map(_implied_spend, _PAIRS)),
    ),
]

_DELAYS = [
    Feature("months_delinquent", "months", "how many S_t ≥ 1", _count(_status(t) >= 1 for t in _ALL)),
    Feature("months_two_behind", "months", "how many S_t ≥ 2", _count(_status(t) >= 2 for t in _ALL)),
    Feature("delay_latest", "months", "max(S_1, 0)", _delay(1)),
    Feature("delay_worst", "months", "largest max(S_t, 0)", pl.max_horizontal([_delay(t) for t in _ALL])),
    Feature(
        "delay_weighted",
        "months",
        "Σ 0.7^(t−1) · max(S_t, 0)",
        pl.sum_horizontal([_delay(t) * RECENCY ** (t - 1) for t in _ALL]),
    ),
    Feature(
        "delay_trend",
        "months",
        "mean of max(S_t, 0) over t = 1…3 minus that over t = 4…6",
        _trend(map(_delay, _ALL)),
    ),
    Feature(
        "months_since_delay",
        "months",
        "t − 1 of the newest S_t ≥ 1; 6 where there is none",
        _months_since_delay(),
    ),
    Feature("count_no_consumption", "months", "how many S_t = −2", _count(_status(t) == -2 for t in _ALL)),
    Feature("count_paid_in_full", "months", "how many S_t = −1", _count(_status(t) == -1 for t in _ALL)),
    Feature("count_revolving", "months", "how many S_t = 0", _count(_status(t) == 0 for t in _ALL)),
    Feature("count_one_behind", "months", "how many S_t = 1", _count(_status(t) == 1 for t in _ALL)),
    Feature("count_two_behind", "months", "how many S_t = 2", _count(_status(t) == 2 for t in _ALL)),
    Feature("count_three_behind", "months", "how many S_t ≥ 3", _count(_status(t) >= 3 for t in _ALL)),
]

_AMOUNTS = [
    Feature("bill_mean", "currency", "mean of B_t", _mean(map(_bill, _ALL))),
    Feature("bill_max", "currency", "largest B_t", pl.max_horizontal([_bill(t) for t in _ALL])),
    Feature("bill_min", "currency", "smallest B_t", pl.min_horizontal([_bill(t) for t in _ALL])),
    Feature(
        "bill_trend",
        "currency",
        "mean of B_t over t = 1…3 minus that over t = 4…6",
        _trend(map(_bill, _ALL)),
    ),
    Feature("bills_not_positive", "months", "how many B_t ≤ 0", _count(_bill(t) <= 0 for t in _ALL)),
    Feature("payment_mean", "currency", "mean of P_t", _mean(map(_payment, _ALL))),
    Feature("payment_max", "currency", "largest P_t", pl.max_horizontal([_payment(t) for t in _ALL])),
    Feature("payment_min", "currency", "smallest P_t", pl.min_horizontal([_payment(t) for t in _ALL])),
    Feature(
        "payment_trend",
        "currency",
        "mean of P_t over t = 1…3 minus that over t = 4…6",
        _trend(map(_payment, _ALL)),
    ),
    Feature("payments_none", "months", "how many P_t ≤ 0", _count(_payment(t) <= 0 for t in _ALL)),
]

FEATURES: tuple[Feature, ...] = (*_UTILISATION, *_PAYMENT_RATIOS, *_SPEND, *_DELAYS, *_AMOUNTS)


# ── Coded columns ───────────────────────────────────────────────────────────────────────────────


def _merged(column: str, documented: list[int], others: int) -> pl.Expr:
    code = pl.col(column)
    return (
        pl.when(pl.any_horizontal([code == value for value in documented]))
        .then(code)
        .otherwise(float(others))
    )


CODES: tuple[Feature, ...] = (
    Feature("sex", "code", "1 male, 2 female", pl.col("sex")),
    Feature(
        "education_group",
        "code",
        "education; 4 stands for 0, 4, 5 and 6, which are rare",
        _merged("education", [1, 2, 3], 4),
    ),
    Feature(
        "marriage_group",
        "code",
        "marriage; 3 stands for 0 and 3, which are rare",
        _merged("marriage", [1, 2], 3),
    ),
    *(
        Feature(
            f"status_{t}",
            "code",
            f"S_{t} held between −2 and 3",
            pl.col(f"pay_{t}").clip(STATUS_LOWEST, STATUS_HIGHEST),
        )
        for t in STATEMENTS
    ),
)

RAW_AMOUNTS: tuple[Feature, ...] = tuple(
    Feature(name, "years" if name == "age" else "currency", "as received", pl.col(name))
    for name in ATTRIBUTE_NAMES
    if name in (*AMOUNT_NAMES, "age")
)


# ── Feature sets ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class FeatureSet:
    """The columns of a feature matrix under a policy.

    "unprotected", the default, knows neither sex nor marriage nor age; "all" is built on the study's 23
    attributes. Columns come in the order raw amounts, computed features, codes.
    """

    policy: Policy = "unprotected"

    def __post_init__(self) -> None:
        if self.policy not in get_args(Policy):
            raise UsageError(
                "attributes of the models",
                expected=f"one of {', '.join(get_args(Policy))}",
                found=repr(self.policy),
                remedy="Correct CREDITFLOW_ATTRIBUTES.",
            )

    @cached_property
    def columns(self) -> tuple[Feature, ...]:
        """Every column of the matrix."""
        return tuple(
            f for f in (*RAW_AMOUNTS, *FEATURES, *CODES) if self.policy == "all" or not _protected(f)
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The attributes that the columns are made from; a frame needs no others."""
        used = {name for column in self.columns for name in column.expression.meta.root_names()}
        return tuple(name for name in ATTRIBUTE_NAMES if name in used)

    @cached_property
    def amount_indices(self) -> tuple[int, ...]:
        """Positions of the raw amounts (with the age where it is used)."""
        raw = {feature.name for feature in RAW_AMOUNTS}
        return tuple(i for i, name in enumerate(self.names) if name in raw)

    @cached_property
    def code_indices(self) -> tuple[int, ...]:
        """Positions of the coded columns."""
        return tuple(i for i, column in enumerate(self.columns) if column.unit == "code")

    def frame(self, clients: pl.DataFrame) -> pl.DataFrame:
        """(n,) rows of the columns as Float64, row for row as in `clients`; nothing is checked."""
        # Amounts count as float64 from here on: integers would overflow in sums, float32 would flip ties.
        numbers = clients.lazy().select(pl.col(self.sources).cast(pl.Float64))
        return numbers.select([c.expression.cast(pl.Float64).alias(c.name) for c in self.columns]).collect()

    def matrix(self, clients: pl.DataFrame) -> np.ndarray:
        """The feature matrix.

        Args:
            clients: one row a client with at least the columns `sources`, all numeric; others are ignored.

        Returns:
            (n, p) float64, columns as in `names`, each contiguous in memory.

        Raises:
            HeaderRefused: columns are missing, or hold no numbers.
            ContentRefused: a value is null, NaN or infinite; the first column with one and its row (from 1)
                are named.
        """
        _refuse_columns(clients, self.sources)
        _refuse_gaps(clients, self.sources)
        return self.frame(clients).to_numpy(order="fortran")


def _protected(feature: Feature) -> bool:
    return any(name in PROTECTED for name in feature.expression.meta.root_names())


def attribute_matrix(frame: pl.DataFrame) -> np.ndarray:
    """The study's attributes of every client as numbers.

    Args:
        frame: one row a client with at least the columns `ATTRIBUTE_NAMES`, all numeric; others are ignored.

    Returns:
        (n, 23) float64 in the order of `ATTRIBUTE_NAMES`, row for row as in the frame.

    Raises:
        HeaderRefused, ContentRefused: as in `FeatureSet.matrix`.
    """
    _refuse_columns(frame, ATTRIBUTE_NAMES)
    _refuse_gaps(frame, ATTRIBUTE_NAMES)
    return frame.select(pl.col(ATTRIBUTE_NAMES).cast(pl.Float64)).to_numpy(order="c")


def _refuse_columns(frame: pl.DataFrame, needed: tuple[str, ...]) -> None:
    missing = [name for name in needed if name not in frame.columns]
    present = [(name, frame.schema[name]) for name in needed if name not in missing]
    texts = [f"{name} is {dtype}" for name, dtype in present if not dtype.is_numeric()]
    if missing or texts:
        raise HeaderRefused(
            "client frame",
            expected=f"the {len(needed)} attributes as numeric columns",
            found="; ".join(([f"no column {', '.join(missing)}"] if missing else []) + texts),
            remedy="Load the clients through the data contract, which names and types every column.",
        )


def _refuse_gaps(frame: pl.DataFrame, names: tuple[str, ...]) -> None:
    finite = pl.col(names).cast(pl.Float64).is_finite().fill_null(False)
    gaps = frame.select((~finite).sum()).row(0)
    if not any(gaps):
        return
    column = next(i for i, count in enumerate(gaps) if count)
    values = frame[names[column]]
    row = int((~values.cast(pl.Float64).is_finite().fill_null(False)).arg_max() or 0)
    more = f" and {sum(gaps) - 1} more" if sum(gaps) > 1 else ""
    raise ContentRefused(
        f"client frame, row {row + 1}, column {names[column]}",
        expected="a finite number",
        found=f"{values[row]}{more}".replace("None", "null"),
        remedy="Such rows belong in quarantine: validate the file before scoring it.",
    )
