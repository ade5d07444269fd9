"""Holds a scored month against the reference (PSI, CSI), estimates how well it was scored from its PDs, and
holds it against the truth once outcomes are known.

All on all rows: drift streams counts per bin, so its memory does not grow with the month; estimates and
realised figures hold one column of PDs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import polars as pl

from creditflow.month import Month
from sql.warehouse import execute, frame, open_warehouse, transaction
from tasks.assess import assess, store
from tasks.derived import due_months, record_made
from tasks.develop import artifact_folder, insert_frame
from tasks.score import BATCH_ROWS
from tasks.stage import Run, stage

if TYPE_CHECKING:
    from models.metrics import Metric
    from models.stability import PsiResult, ReferenceBins

SCORE = "score"


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
            _store_drift(con, run, month, made_from)
        estimated = due_months(con, run.month, "estimates")
        for month, made_from in estimated.items():
            _store_estimates(con, month, made_from)
        measured = due_months(con, run.month, "performance")
        for month, made_from in measured.items():
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
    from models.artifacts import load

    model, version, manifest = execute(con, "champion_of_scores", month=str(month))[0]
    return load(artifact_folder(run.home, version, model), manifest).bins


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
    from models.estimate import estimated_metrics

    rows = [
        row
        for model, version, basis, pds in _pds(con, month)
        for row in performance_rows(
            {"month": str(month), "model": model, "version": version, "sample": "estimated", "basis": basis},
            estimated_metrics(pds["pd"]),
            clients=pds.height,
            defaulters=None,
        )
    ]
    with transaction(con):
        execute(con, "delete_estimated", month=str(month))
        insert_frame(con, "insert_performance", pl.DataFrame(rows, infer_schema_length=None))
        record_made(con, month, "estimates", made_from)


def _pds(con: duckdb.DuckDBPyConnection, month: Month) -> Iterator[tuple[str, str, str, pl.DataFrame]]:
    """Model, version, basis and the PDs of every model that scored the month."""
    for model, version, basis in execute(con, "scored_models", month=str(month)):
        yield model, version, basis, frame(con, "pds_of_model", month=str(month), model=model)


def _store_performance(con: duckdb.DuckDBPyConnection, run: Run, month: Month, made_from: str) -> None:
    """Realised metrics of every model and what a validator asks; segments in any case."""
    known = list(truths(con, month))
    rows, tables = realised_rows(month, known), assess(con, month, known, _frozen_bins(con, run, month))
    with transaction(con):
        execute(con, "delete_realised", month=str(month))
        insert_frame(con, "insert_performance", pl.DataFrame(rows, infer_schema_length=None))
        store(con, month, tables)
        record_made(con, month, "performance", made_from)


def truths(con: duckdb.DuckDBPyConnection, month: Month) -> Iterator[tuple[str, str, str, pl.DataFrame]]:
    """Model, version, basis, and the PDs beside the outcomes; nothing where no outcome is known."""
    for model, version, basis in execute(con, "scored_models", month=str(month)):
        truth = frame(con, "pd_and_outcome", month=str(month), model=model)
        if truth.height:
            yield model, version, basis, truth


def realised_rows(month: Month, truths: Sequence[tuple[str, str, str, pl.DataFrame]]) -> list[dict[str, Any]]:
    """Rows of the table `performance`, sample 'realised'."""
    from models.metrics import classification_metrics

    return [
        row
        for model, version, basis, truth in truths
        for row in performance_rows(
            {"month": str(month), "model": model, "version": version, "sample": "realised", "basis": basis},
            classification_metrics(truth["defaulted"], truth["pd"]),
            clients=truth.height,
            defaulters=int(truth["defaulted"].sum()),
        )
    ]


def performance_rows(
    key: dict[str, str], metrics: dict[str, "Metric"], *, clients: int, defaulters: int | None
) -> list[dict[str, Any]]:
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
