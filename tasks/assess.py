"""What a validator asks of a scored month: do the PDs rank and state the risk, for whom, and is a challenger
better? Part of the stage `monitor`, made with the realised figures.

Frames in, one frame for each of `TABLES` out. Memory holds one column of PDs a model, and of the champion the
attributes that segments are made of.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl

from creditflow.month import Month
from sql.warehouse import execute, frame
from tasks.develop import insert_frame

if TYPE_CHECKING:
    from models.stability import ReferenceBins

TABLES = ("validation", "calibration", "comparisons", "segments", "fairness")
LIMIT_BANDS = 5

# Model, version, basis, and a frame of pd, grade, defaulted.
Truth = tuple[str, str, str, pl.DataFrame]
Row = dict[str, Any]


def assess(
    con: duckdb.DuckDBPyConnection, month: Month, truths: Sequence[Truth], bins: dict[str, "ReferenceBins"]
) -> dict[str, list[Row]]:
    """The month's rows of each of `TABLES`; of those that need outcomes none while none is known.

    Args:
        truths: PDs beside outcomes of every model that scored the month.
        bins: frozen bins of the champion's reference sample.
    """
    champion, version, _ = execute(con, "champion_of_scores", month=str(month))[0]
    key = {"month": str(month), "model": champion, "version": version}
    clients = frame(con, "champion_clients", month=str(month))
    return {
        "validation": [row for truth in truths for row in _validation(month, *truth)],
        "calibration": [row for truth in truths for row in _calibration(month, *truth)],
        "comparisons": _comparisons(con, month, champion, version, truths),
        "segments": _segments(key, clients, limit_cuts(bins["limit_bal"])),
        "fairness": _fairness(key, clients),
    }


def store(con: duckdb.DuckDBPyConnection, month: Month, tables: dict[str, list[Row]]) -> None:
    """Replaces the month's part of each table. The caller holds the transaction."""
    for table, rows in tables.items():
        execute(con, f"delete_{table}", month=str(month))
        insert_frame(con, f"insert_{table}", pl.DataFrame(rows, infer_schema_length=None))


def limit_cuts(bins: "ReferenceBins") -> list[float]:
    """Frozen cuts that part the reference into about `LIMIT_BANDS` equal bands of the credit limit."""
    reached = [count / bins.rows for count in accumulate(bins.reference[:-1])]
    wanted = [band / LIMIT_BANDS for band in range(1, LIMIT_BANDS)]
    nearest = {min(range(len(reached)), key=lambda i: abs(reached[i] - share)) for share in wanted}
    return [bins.cuts[i] for i in sorted(nearest)]


# ── Intervals and tests ─────────────────────────────────────────────────────────────────────────


def _validation(month: Month, model: str, version: str, basis: str, truth: pl.DataFrame) -> Iterator[Row]:
    """One row a statistic of one model; see the table `validation`."""
    y, pd = truth["defaulted"].to_numpy(), truth["pd"].to_numpy()
    key = {"month": str(month), "model": model, "version": version, "basis": basis}
    counts = {"clients": truth.height, "defaulters": int(y.sum())}
    for statistic, found in _statistics(y, pd).items():
        yield {**key, "statistic": statistic, **_EMPTY, **found, **counts}


_EMPTY = dict.fromkeys(("value", "low", "high", "test_statistic", "p_value", "degrees", "reason"))


def _statistics(y: Any, pd: Any) -> dict[str, Row]:
    from models.backtest import (
        brier_parts,
        calibration_in_the_large,
        calibration_slope,
        hosmer_lemeshow,
        spiegelhalter,
    )
    from models.discrimination import auc_interval

    slope, intercept = calibration_slope(y, pd)
    intervals = {
        "roc_auc": auc_interval(y, pd),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
        "calibration_in_the_large": calibration_in_the_large(y, pd),
    }
    tests = {"hosmer_lemeshow": hosmer_lemeshow(y, pd), "spiegelhalter": spiegelhalter(y, pd)}
    return {
        **{name: _interval_row(found) for name, found in intervals.items()},
        **{name: {"value": m.value, "reason": m.reason} for name, m in brier_parts(y, pd).items()},
        **{name: _test_row(found) for name, found in tests.items()},
    }


def _interval_row(found: Any) -> Row:
    return {"value": found.value, "low": found.low, "high": found.high, "reason": found.reason}


def _test_row(found: Any) -> Row:
    return {
        "test_statistic": found.statistic,
        "p_value": found.p_value,
        "degrees": found.degrees,
        "reason": found.reason,
    }


# ── Calibration ─────────────────────────────────────────────────────────────────────────────────


def _calibration(month: Month, model: str, version: str, basis: str, truth: pl.DataFrame) -> Iterator[Row]:
    """One row a grade and one a tenth of the PD, both from the lowest PD up."""
    from models.metrics import equal_count_bins

    key = {"month": str(month), "model": model, "version": version, "basis": basis}
    tenths = pl.Series("group", equal_count_bins(truth["pd"].to_numpy()))
    grades = truth["grade"].alias("group").drop_nulls()
    for grouping, groups in (("grade", grades), ("tenth", tenths)):
        # A model without grades, such as a challenger of an earlier version, has none to be told of.
        if groups.len() == truth.height:
            yield from ({**key, "grouping": grouping, **row} for row in group_rows(truth, groups))


def group_rows(truth: pl.DataFrame, groups: pl.Series) -> list[Row]:
    """Expected and observed defaults of each group, ordered by mean PD.

    Args:
        truth: pd and defaulted, one row a client.
        groups: (n,) the group of each client.
    """
    from models.backtest import binomial_test, jeffreys_interval, jeffreys_test

    rows = []
    for position, found in enumerate(_summed(truth, groups).to_dicts(), start=1):
        clients, defaulters, mean_pd = found["clients"], found["defaulters"], found["mean_pd"]
        rate = jeffreys_interval(clients, defaulters)
        label = found.pop("group")
        rows.append(
            found
            | {
                "position": position,
                "group_label": str(label) if isinstance(label, str) else str(position),
                "expected": mean_pd * clients,
                "default_rate": defaulters / clients,
                "rate_low": rate.low,
                "rate_high": rate.high,
                "binomial_p": binomial_test(clients, defaulters, mean_pd).value,
                "jeffreys_p": jeffreys_test(clients, defaulters, mean_pd).value,
            }
        )
    return rows


def _summed(truth: pl.DataFrame, groups: pl.Series) -> pl.DataFrame:
    return (
        truth.with_columns(groups.alias("group"))
        .sort("pd")  # so that a sum does not depend on the order of the rows
        .group_by("group", maintain_order=True)
        .agg(
            pl.len().cast(pl.Int64).alias("clients"),
            pl.col("defaulted").cast(pl.Int64).sum().alias("defaulters"),
            pl.col("pd").mean().alias("mean_pd"),
            pl.col("pd").min().alias("low_pd"),
            pl.col("pd").max().alias("high_pd"),
        )
        .sort("mean_pd", "group")
    )


# ── Champion and challengers ────────────────────────────────────────────────────────────────────


def _comparisons(
    con: duckdb.DuckDBPyConnection, month: Month, champion: str, version: str, truths: Sequence[Truth]
) -> list[Row]:
    rows = []
    for model, own_version, _, truth in truths:
        if (model, own_version) != (champion, version):
            pds = frame(con, "pds_of_challenger", month=str(month), model=model)
            key = {"month": str(month), "model": model, "version": own_version}
            key |= {"champion": champion, "champion_version": version}
            counts = {"clients": pds.height, "defaulters": int(truth["defaulted"].sum())}
            rows += [key | found | counts for found in compared(pds)]
    return rows


def compared(pds: pl.DataFrame) -> list[Row]:
    """Paired differences, champion less challenger, from columns champion, challenger and defaulted."""
    from models.discrimination import auc_difference, brier_difference

    y, ours, theirs = (pds[name].to_numpy() for name in ("defaulted", "champion", "challenger"))
    auc = auc_difference(y, ours, theirs)
    brier = brier_difference(y, ours, theirs)
    squares = [float(((y - p) ** 2).mean()) if pds.height else None for p in (ours, theirs)]
    return [
        {
            "statistic": "roc_auc",
            "champion_value": auc.auc_a,
            "value": auc.auc_b,
            "difference": auc.difference,
            "low": auc.low,
            "high": auc.high,
            "p_value": auc.p_value,
            "reason": auc.reason,
        },
        {
            "statistic": "brier",
            "champion_value": squares[0],
            "value": squares[1],
            "difference": brier.value,
            "low": brier.low,
            "high": brier.high,
            "p_value": None,
            "reason": brier.reason,
        },
    ]


# ── Segments and fairness ───────────────────────────────────────────────────────────────────────


def _segments(key: dict[str, str], clients: pl.DataFrame, cuts: Sequence[float]) -> list[Row]:
    from models.segments import segment_table

    return [key | row for row in segment_table(clients, cuts).to_dicts()]


def _fairness(key: dict[str, str], clients: pl.DataFrame) -> list[Row]:
    from models.fairness import fairness_table

    return [key | row for row in fairness_table(clients).to_dicts()]
