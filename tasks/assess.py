"""How good a month's PDs turned out, and what a validator asks: do they rank and state the risk, for whom,
and is a challenger better? Part of the stage `monitor`.

Frames in, one frame for each of `TABLES` out, and the rows of `performance`. Memory holds the PDs of one
model and of the champion that it is held against, and then the attributes that segments are made of.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import polars as pl

from creditflow.errors import WarehouseCorrupt
from creditflow.month import Month
from sql.library import query
from sql.warehouse import execute, frame, holding_less
from tasks.develop import insert_frame
from tasks.score import BATCH_ROWS

if TYPE_CHECKING:
    from models.discrimination import Placements
    from models.metrics import Metric, Ordered
    from models.stability import ReferenceBins

PERFORMANCE = "performance"
TABLES = ("validation", "calibration", "comparisons", "segments", "fairness")
LIMIT_BANDS = 5

# Model, version, basis, and a frame of pd, grade, defaulted, one row a client, the same clients in the same
# order for every model.
Truth = tuple[str, str, str, pl.DataFrame]
Row = dict[str, Any]


def assess(
    con: duckdb.DuckDBPyConnection, month: Month, truths: Iterable[Truth], bins: dict[str, "ReferenceBins"]
) -> dict[str, list[Row]]:
    """The month's rows of each of `TABLES`, and under `PERFORMANCE` its realised figures; of all that need
    outcomes none while none is known.

    Args:
        truths: of every model that scored the month, the champion's first; taken one at a time.
        bins: frozen bins of the champion's reference sample.
    """
    champion, version, _ = execute(con, "champion_of_scores", month=str(month))[0]
    tables: dict[str, list[Row]] = {name: [] for name in (PERFORMANCE, *TABLES)}
    before: tuple[Placements, Any] | None = None
    for model, own_version, basis, truth in truths:
        key = {"month": str(month), "model": model, "version": own_version}
        measured, placed = _measured(key | {"basis": basis}, truth)
        for name, rows in measured.items():
            tables[name] += rows
        if (model, own_version) == (champion, version):
            before = placed, truth["pd"].to_numpy()
        elif before is not None:
            against = key | {"champion": champion, "champion_version": version} | _counts(truth)
            tables["comparisons"] += [against | row for row in _beside(truth, placed, *before)]
        # The next model's are read before these names are used again.
        del truth, placed
    del before
    key = {"month": str(month), "model": champion, "version": version}
    segments, fairness = _segments(con, month, limit_cuts(bins["limit_bal"]))
    tables["segments"] = [key | row for row in segments.to_dicts()]
    tables["fairness"] = [key | row for row in fairness.to_dicts()]
    return tables


def truths(con: duckdb.DuckDBPyConnection, month: Month) -> Iterator[Truth]:
    """The PDs of every model beside the outcomes, the champion's first; nothing where no outcome is known.

    Every model scores the same clients, so that one lookup of outcomes serves them all.

    Raises:
        WarehouseCorrupt: the models' scores are not of the same clients.
    """
    models = execute(con, "scored_models", month=str(month))
    grades = [grade for (grade,) in execute(con, "grades_of_month", month=str(month))]
    clients = frame(con, "clients_of_scores", month=str(month), model=models[0][0])["client"]
    defaulted = _outcomes_alike(con, month, clients)
    if defaulted is None:
        outcomes = frame(con, "outcomes_of_scored", month=str(month))
        defaulted = _ordered_as(clients, outcomes, month, "the outcomes")["defaulted"]
        del outcomes
    if defaulted.null_count() == defaulted.len():
        return

    def scored(model: str) -> pl.DataFrame:
        return _ordered_as(clients, _scored(con, month, model, grades), month, model)

    # One model's column after the other is read once: DuckDB's memory is better left to the statistics.
    with holding_less(con):
        for model, version, basis, _ in models:
            # Under no name of ours: what is yielded lives as long as whoever takes it wants it.
            yield model, version, basis, _known(scored(model).drop("client").with_columns(defaulted))


def _outcomes_alike(con: duckdb.DuckDBPyConnection, month: Month, clients: pl.Series) -> pl.Series | None:
    """The outcomes of these clients as they are stored, null where none of the month is; None where they are
    stored of other clients or in another order.

    Files of a month come in one order, as a rule: to look is a fifth of the work of a join by name.
    """
    outcomes = frame(con, "outcomes_of_month", month=str(month))
    if outcomes.is_empty():
        return pl.repeat(None, clients.len(), dtype=outcomes.schema["defaulted"], eager=True).alias(
            "defaulted"
        )
    return outcomes["defaulted"] if outcomes["client"].equals(clients) else None


def _known(truth: pl.DataFrame) -> pl.DataFrame:
    return truth.drop_nulls("defaulted") if truth["defaulted"].null_count() else truth


def _scored(con: duckdb.DuckDBPyConnection, month: Month, model: str, grades: list[str]) -> pl.DataFrame:
    """A model's client (a hash), pd and grade."""
    found = frame(con, "pds_and_grades", month=str(month), model=model, grades=grades)
    return found.with_columns(pl.col("grade").cat.to(pl.Enum(grades)))


def _ordered_as(clients: pl.Series, rows: pl.DataFrame, month: Month, of: str) -> pl.DataFrame:
    """The rows in the order of the champion's clients. A set's models are stored in one order, as a rule.

    Raises:
        WarehouseCorrupt: they are not of the same clients.
    """
    if rows["client"].equals(clients):
        return rows
    own, wanted = rows["client"].arg_sort(), clients.arg_sort()
    if not rows["client"].gather(own).equals(clients.gather(wanted)):
        raise WarehouseCorrupt(
            f"scores of {month}",
            expected=f"the champion's {clients.len():,} clients in the scores of every model",
            found=f"{rows.height:,} of {of}, not all of them the same",
            remedy=f"Score the month again with: creditflow run {month}",
        )
    return rows[own.gather(wanted.arg_sort())]


class _OtherOrder(Exception):
    """Outcomes or attributes of a month are stored in another order than its scores."""


def _segments(
    con: duckdb.DuckDBPyConnection, month: Month, cuts: list[float]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The champion's clients by segment, and whether they are treated alike."""
    from models.fairness import both_tables

    # Outside of the error's block the rows that were read for nothing are let go.
    with suppress(_OtherOrder):
        return both_tables(_side_by_side(con, month), cuts)
    return both_tables(_joined(con, month), cuts)


def _side_by_side(con: duckdb.DuckDBPyConnection, month: Month) -> Iterator[pl.DataFrame]:
    """The champion's clients with what segments are made of, batch by batch: scores, outcomes and attributes
    as they are stored, laid beside each other without a join.

    Raises:
        _OtherOrder: they are of other clients, or in another order.
    """
    scored = frame(con, "champion_flags", month=str(month))
    outcomes = _outcomes_alike(con, month, scored["client"])
    if outcomes is None:
        raise _OtherOrder
    scored, start = scored.with_columns(outcomes), 0
    for attributes in _batches(con, "attributes_of_clients", month):
        beside = scored.slice(start, attributes.height)
        if not beside["client"].equals(attributes["client"]):
            raise _OtherOrder
        start += beside.height
        yield beside.hstack(attributes.drop("client"))
    if start < scored.height:
        raise _OtherOrder


def _joined(con: duckdb.DuckDBPyConnection, month: Month) -> Iterator[pl.DataFrame]:
    """The same, in whatever order they are stored."""
    return _batches(con, "champion_clients", month)


def _batches(con: duckdb.DuckDBPyConnection, name: str, month: Month) -> Iterator[pl.DataFrame]:
    relation = con.cursor().sql(query(name), params={"month": str(month)})
    for batch in relation.to_arrow_reader(BATCH_ROWS):
        yield pl.DataFrame(pl.from_arrow(batch))


def store(con: duckdb.DuckDBPyConnection, month: Month, tables: dict[str, list[Row]]) -> None:
    """Replaces the month's part of each table. The caller holds the transaction."""
    for table in TABLES:
        execute(con, f"delete_{table}", month=str(month))
        insert_frame(con, f"insert_{table}", pl.DataFrame(tables[table], infer_schema_length=None))


def limit_cuts(bins: "ReferenceBins") -> list[float]:
    """Frozen cuts that part the reference into about `LIMIT_BANDS` equal bands of the credit limit."""
    reached = [count / bins.rows for count in accumulate(bins.reference[:-1])]
    wanted = [band / LIMIT_BANDS for band in range(1, LIMIT_BANDS)]
    nearest = {min(range(len(reached)), key=lambda i: abs(reached[i] - share)) for share in wanted}
    return [bins.cuts[i] for i in sorted(nearest)]


def _beside(truth: pl.DataFrame, placed: "Placements", champion: "Placements", pd: Any) -> Iterable[Row]:
    """A challenger's comparisons with the champion, whose PDs are `pd`."""
    return compared(truth["defaulted"].to_numpy(), pd, champion, truth["pd"].to_numpy(), placed)


# ── One model ───────────────────────────────────────────────────────────────────────────────────


def _measured(key: Row, truth: pl.DataFrame) -> tuple[dict[str, list[Row]], "Placements"]:
    """Rows of one model for `performance`, `validation` and `calibration`, and how its AUC came about."""
    from models.discrimination import Placements
    from models.metrics import Ordered

    y, pd = truth["defaulted"].to_numpy(), truth["pd"].to_numpy()
    # One sort serves both.
    clients, places = Ordered.with_places(y, pd)
    # Numpy works outside the interpreter's lock.
    with ThreadPoolExecutor(1, thread_name_prefix="placements") as beside:
        placing = beside.submit(Placements.of_ordered, clients, places)
        del places
        realised = _realised(key, clients)
        calibration = list(_calibration(key, truth, clients))
        placed = placing.result()
    validation = list(_validation(key | _counts(truth), clients, placed))
    return {PERFORMANCE: realised, "validation": validation, "calibration": calibration}, placed


def _counts(truth: pl.DataFrame) -> Row:
    return {"clients": truth.height, "defaulters": int(truth["defaulted"].sum())}


def realised_rows(month: Month, truths: Iterable[Truth]) -> list[Row]:
    """Rows of the table `performance`, sample 'realised'."""
    from models.metrics import Ordered

    return [
        row
        for model, version, basis, truth in truths
        for row in _realised(
            {"month": str(month), "model": model, "version": version, "basis": basis},
            Ordered.of(truth["defaulted"].to_numpy(), truth["pd"].to_numpy()),
        )
    ]


def _realised(key: Row, clients: "Ordered") -> list[Row]:
    from models.metrics import metrics_of

    found = metrics_of(clients)
    counts = {"clients": clients.pd.size, "defaulters": clients.defaulters}
    return performance_rows(key | {"sample": "realised"}, found, **counts)


def performance_rows(
    key: dict[str, str], metrics: dict[str, "Metric"], *, clients: int, defaulters: int | None
) -> list[Row]:
    """A row of the table `performance` for each metric; `defaulters` None where they are not known."""
    return [
        {
            **key,
            "metric": name,
            "value": metric.value,
            "clients": clients,
            "defaulters": defaulters,
            "reason": metric.reason,
        }
        for name, metric in metrics.items()
    ]


# ── Intervals and tests ─────────────────────────────────────────────────────────────────────────

_EMPTY = dict.fromkeys(("value", "low", "high", "test_statistic", "p_value", "degrees", "reason"))


def _validation(key: Row, clients: "Ordered", placed: "Placements") -> Iterator[Row]:
    """One row a statistic of one model; see the table `validation`."""
    from models.backtest import backtest
    from models.discrimination import interval_of

    found = backtest(clients)
    rows = {
        "roc_auc": _interval_row(interval_of(placed)),
        "calibration_slope": _interval_row(found.calibration_slope),
        "calibration_intercept": _interval_row(found.calibration_intercept),
        "calibration_in_the_large": _interval_row(found.calibration_in_the_large),
        **{name: {"value": metric.value, "reason": metric.reason} for name, metric in found.brier.items()},
        "hosmer_lemeshow": _test_row(found.hosmer_lemeshow),
        "spiegelhalter": _test_row(found.spiegelhalter),
    }
    for statistic, row in rows.items():
        yield {**key, "statistic": statistic, **_EMPTY, **row}


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


def _calibration(key: Row, truth: pl.DataFrame, clients: "Ordered") -> Iterator[Row]:
    """One row a grade and one a tenth of the PD, both from the lowest PD up."""
    found = {"tenth": _tenths(clients)}
    # A model without grades, such as a challenger of an earlier version, has none to be told of.
    if truth.height and not truth["grade"].null_count():
        found["grade"] = summed(truth, truth["grade"])
    for grouping, groups in found.items():
        yield from ({**key, "grouping": grouping, **row} for row in group_rows(groups))


def group_rows(groups: Iterable[Row]) -> list[Row]:
    """Expected and observed defaults of each group, ordered by mean PD.

    Args:
        groups: group, clients, defaulters, mean_pd, low_pd and high_pd of each.
    """
    from models.backtest import binomial_test, jeffreys_interval, jeffreys_test

    rows = []
    ascending = sorted(groups, key=lambda row: (row["mean_pd"], row["group"]))
    for position, found in enumerate(ascending, start=1):
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


def _tenths(clients: "Ordered") -> list[Row]:
    bins = clients.tenths
    columns = (bins.clients, bins.defaulters, bins.expected, bins.low, bins.high)
    return [
        {
            "group": place,
            "clients": int(rows),
            "defaulters": int(defaulters),
            # Rounding may carry the mean of equal PDs past them.
            "mean_pd": float(min(max(expected / rows, low), high)),
            "low_pd": float(low),
            "high_pd": float(high),
        }
        for place, (rows, defaulters, expected, low, high) in enumerate(zip(*columns, strict=True))
    ]


def summed(truth: pl.DataFrame, groups: pl.Series) -> list[Row]:
    """Counts and PDs of each group.

    Args:
        truth: pd and defaulted, one row a client.
        groups: (n,) the group of each client.
    """
    labels = groups.unique().sort()
    places = groups.replace_strict(labels, range(labels.len()), return_dtype=pl.UInt16).to_numpy()
    # Of small whole numbers a stable sort is a counting of them.
    order, ends = np.argsort(places, kind="stable"), np.cumsum(np.bincount(places))
    y, pd = truth["defaulted"].to_numpy(), truth["pd"].to_numpy()
    return [
        {"group": label, **_group(y[members], pd[members])}
        for label, members in zip(labels, np.split(order, ends[:-1]), strict=True)
    ]


def _group(y: Any, pds: Any) -> Row:
    pds.sort()  # so that a sum does not depend on the order of the rows
    return {
        "clients": pds.size,
        "defaulters": int(y.sum()),
        "mean_pd": float(pds.mean()),
        "low_pd": float(pds[0]),
        "high_pd": float(pds[-1]),
    }


# ── Champion and challengers ────────────────────────────────────────────────────────────────────


def compared(y: Any, ours: Any, placed: "Placements", theirs: Any, their_placed: "Placements") -> list[Row]:
    """Paired differences, champion less challenger.

    Args:
        y: (n,) outcomes, 0 or 1.
        ours, theirs: (n,) PDs of champion and challenger.
        placed, their_placed: placements of the two.
    """
    from models.discrimination import brier_difference, difference_of

    auc, brier = difference_of(placed, their_placed), brier_difference(y, ours, theirs)
    squares = [float(((y - p) ** 2).mean()) if y.size else None for p in (ours, theirs)]
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
