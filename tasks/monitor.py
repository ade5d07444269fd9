"""Holds a scored month against the reference (PSI, CSI), estimates how well it was scored from its PDs, and
holds it against the truth once outcomes are known.

All on all rows: drift streams counts per bin, so its memory does not grow with the month; estimates and
realised figures hold the PDs of one model and its champion.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import polars as pl

from creditflow.month import Month
from sql.warehouse import execute, frame, open_warehouse, transaction
from tasks.assess import PERFORMANCE, assess, performance_rows, store, truths
from tasks.derived import due_months, record_made
from tasks.develop import artifact_folder, insert_frame
from tasks.score import BATCH_ROWS
from tasks.stage import Run, stage, step

if TYPE_CHECKING:
    from models.stability import PsiResult, ReferenceBins

SCORE = "score"
# Models whose month is estimated at once.
AT_A_TIME = 2


@dataclass(frozen=True)
class Monitored:
    """The months whose drift, estimates or performance was computed in this run."""

    months: tuple[Month, ...]


@stage("monitor")
def monitor(run: Run) -> Monitored:
    """Computes drift, estimates and performance wherever scores or outcomes are newer than the figures.

    What is due follows from what is stored, not from what this run did: a run that was killed half-way is
    made good by the next one.
    """
    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con:
        drifted = due_months(con, run.month, "drift")
        for month, made_from in drifted.items():
            with step(run, "drift"):
                _store_drift(con, run, month, made_from)
        estimated = due_months(con, run.month, "estimates")
        for month, made_from in estimated.items():
            with step(run, "estimates"):
                _store_estimates(con, month, made_from)
        measured = due_months(con, run.month, "performance")
        for month, made_from in measured.items():
            with step(run, "performance"):
                _store_performance(con, run, month, made_from)
    return Monitored(tuple(sorted({*drifted, *estimated, *measured})))


# ── Drift ───────────────────────────────────────────────────────────────────────────────────────


def _store_drift(con: duckdb.DuckDBPyConnection, run: Run, month: Month, made_from: str) -> None:
    model, version, _ = execute(con, "champion_of_scores", month=str(month))[0]
    results = drift_of(_frozen_bins(con, run, month), _monitored_batches(con, month))
    key = {"month": str(month), "model": model, "version": version}
    with transaction(con):
        for table in ("drift", "drift_bins"):
            execute(con, f"delete_{table}", month=str(month))
        insert_frame(con, "insert_drift", pl.DataFrame([_drift_row(key, *item) for item in results.items()]))
        insert_frame(con, "insert_drift_bins", _bin_rows(month, results))
        record_made(con, month, "drift", made_from)


def _frozen_bins(con: duckdb.DuckDBPyConnection, run: Run, month: Month) -> dict[str, "ReferenceBins"]:
    """The bins of the reference sample of the month's champion."""
    from models.artifacts import load_bins

    model, version, manifest = execute(con, "champion_of_scores", month=str(month))[0]
    return load_bins(artifact_folder(run.home, version, model), manifest)


def _monitored_batches(con: duckdb.DuckDBPyConnection, month: Month) -> Iterator[pl.DataFrame]:
    """Attributes and the champion's score of a month, batch by batch."""
    from sql.library import query

    relation = con.cursor().sql(query("champion_scores_with_attributes"), params={"month": str(month)})
    for batch in relation.to_arrow_reader(BATCH_ROWS):
        yield pl.DataFrame(pl.from_arrow(batch))


def drift_of(bins: dict[str, "ReferenceBins"], batches: Iterator[pl.DataFrame]) -> dict[str, "PsiResult"]:
    """PSI of the score and CSI of each attribute, from counts that add up over batches."""
    from models.stability import counts, psi_from_counts

    totals = {name: np.zeros(len(b.reference), dtype=np.int64) for name, b in bins.items()}
    for batch in batches:
        for name in totals:
            totals[name] += counts(bins[name], batch[name])
    return {name: psi_from_counts(bins[name], totals[name]) for name in bins}


def _drift_row(key: dict[str, str], name: str, result: "PsiResult") -> dict[str, Any]:
    return {
        **key,
        "name": name,
        "statistic": "psi" if name == SCORE else "csi",
        "value": result.value,
        "band": result.band,
        "reference_rows": result.reference_rows,
        "current_rows": result.current_rows,
        "reason": result.reason,
    }


def _bin_rows(month: Month, results: dict[str, "PsiResult"]) -> pl.DataFrame:
    return pl.concat(
        result.bins.with_columns(pl.lit(str(month)).alias("month"), pl.lit(name).alias("name"))
        for name, result in results.items()
    )


# ── Performance ─────────────────────────────────────────────────────────────────────────────────


def _store_estimates(con: duckdb.DuckDBPyConnection, month: Month, made_from: str) -> None:
    """What the month's PDs promise of every model, champion and challengers."""
    models = execute(con, "scored_models", month=str(month))
    # Numpy works outside the interpreter's lock; each model's PDs are there only while it is estimated.
    with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="estimates") as pool:
        rows = [row for rows in pool.map(partial(_estimated, con, month), models) for row in rows]
    with transaction(con):
        execute(con, "delete_estimated", month=str(month))
        insert_frame(con, "insert_performance", pl.DataFrame(rows, infer_schema_length=None))
        record_made(con, month, "estimates", made_from)


def _estimated(
    con: duckdb.DuckDBPyConnection, month: Month, scored: tuple[str, str, str, bool]
) -> list[dict[str, Any]]:
    from models.estimate import estimated_metrics

    model, version, basis, _ = scored
    pds = frame(con.cursor(), "pds_of_model", month=str(month), model=model)["pd"].to_numpy()
    key = {"month": str(month), "model": model, "version": version, "sample": "estimated", "basis": basis}
    return performance_rows(key, estimated_metrics(pds), clients=pds.size, defaulters=None)


def _store_performance(con: duckdb.DuckDBPyConnection, run: Run, month: Month, made_from: str) -> None:
    """Realised metrics of every model and what a validator asks; segments in any case."""
    tables = assess(con, month, truths(con, month), _frozen_bins(con, run, month))
    with transaction(con):
        execute(con, "delete_realised", month=str(month))
        rows = pl.DataFrame(tables[PERFORMANCE], infer_schema_length=None)
        insert_frame(con, "insert_performance", rows)
        store(con, month, tables)
        record_made(con, month, "performance", made_from)
