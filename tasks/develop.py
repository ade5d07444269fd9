"""Develops the model set where the decision says so, keeps it as artifacts, and names the champion.

The version of a set follows from what went into it (training data, code, seed), so the same month
developed twice is the same version, bit by bit.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl

from creditflow.errors import TrainingError
from creditflow.month import Month
from sql.warehouse import execute, frame, open_warehouse, transaction
from tasks.decide import Champion, Decision, Verdict
from tasks.ledger import now
from tasks.stage import Run, stage

if TYPE_CHECKING:
    from models.develop import DevelopedModel


@dataclass(frozen=True)
class Developed:
    """The champion in force after the decision, and why. `rows` counts those learned from."""

    verdict: Verdict
    champion: Champion | None
    reason: str
    rows: int | None = None

    @property
    def name(self) -> str:
        return f"{self.champion.model} {self.champion.version}" if self.champion else "no model"


@stage("develop")
def develop(run: Run, decision: Decision) -> Developed:
    """Follows the decision and writes it down.

    A set that cannot be trained leaves the champion in force, and the decision says so; without a
    champion the month waits for its first model.
    """
    if decision.verdict != "retrain":
        return _keep(run, decision)
    try:
        return _retrain(run, decision)
    except TrainingError as error:
        verdict: Verdict = "reuse" if decision.champion else "wait"
        return _keep(run, replace(decision, verdict=verdict, reason=f"{decision.reason} It failed: {error}"))


def _keep(run: Run, decision: Decision) -> Developed:
    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con, transaction(con):
        _write_decision(con, run, decision, decision.champion)
    return Developed(decision.verdict, decision.champion, decision.reason)


# ── Retraining ──────────────────────────────────────────────────────────────────────────────────


def _retrain(run: Run, decision: Decision) -> Developed:
    from models.develop import choose_champion, training_sha256
    from models.develop import develop as fit_set

    data = _training_data(run, decision.training_months)
    data_sha256 = training_sha256(data)
    version = set_version(run, data_sha256)
    fitted = fit_set(data, seed=run.options.seed)
    champion = Champion(choose_champion(fitted), version, run.month)
    rows = [_save(run, model, version, data_sha256, decision.training_months) for model in fitted]
    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con, transaction(con):
        _write_models(con, version, rows, held_out_rows(run.month, version, fitted))
        _write_decision(con, run, decision, champion)
    return Developed(decision.verdict, champion, decision.reason, data.height)


def _training_data(run: Run, months: Sequence[Month]) -> pl.DataFrame:
    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con:
        return frame(
            con,
            "training_frame",
            months=[str(month) for month in months],
            seed=str(run.options.seed),
            max_rows=run.options.training_max_rows,
        )


def set_version(run: Run, data_sha256: str) -> str:
    """The month of development and eight hexadecimal digits of what went in."""
    ingredients = f"{data_sha256}|{run.code_version}|{run.options.seed}"
    return f"{run.month}-{hashlib.sha256(ingredients.encode()).hexdigest()[:8]}"


def artifact_folder(run: Run, version: str, model: str) -> Path:
    """Where one model of a set is kept."""
    return run.home.artifacts / version / model


def _save(
    run: Run, model: "DevelopedModel", version: str, data_sha256: str, months: Sequence[Month]
) -> dict[str, Any]:
    """Keeps the artifact and returns its row of the table `models`."""
    from models.artifacts import save

    folder = artifact_folder(run, version, model.name)
    facts = {"version": version, "training_sha256": data_sha256, "code_version": run.code_version}
    return {
        "model": model.name,
        "version": version,
        "month": str(run.month),
        "training_months": [str(month) for month in months],
        "training_rows": model.facts.rows,
        "training_defaulters": model.facts.defaulters,
        "training_sha256": data_sha256,
        "manifest_sha256": save(model, folder, facts),
        "artifact": folder.relative_to(run.home.root).as_posix(),
        "seed": run.options.seed,
        "fit_seconds": model.fit_seconds,
        "code_version": run.code_version,
        "run_id": run.run_id,
        "trained_at": now(),
    }


def held_out_rows(month: Month, version: str, fitted: Sequence["DevelopedModel"]) -> list[dict[str, Any]]:
    """The held-out metrics as rows of the table `performance`."""
    return [
        {
            "month": str(month),
            "model": model.name,
            "version": version,
            "sample": "held_out",
            "basis": "held_out",
            "metric": name,
            "value": metric.value,
            "clients": model.facts.held_out_rows,
            "defaulters": model.facts.held_out_defaulters,
            "reason": metric.reason,
        }
        for model in fitted
        for name, metric in model.held_out.items()
    ]


# ── Writing ─────────────────────────────────────────────────────────────────────────────────────


def _write_models(
    con: duckdb.DuckDBPyConnection, version: str, models: list[dict[str, Any]], metrics: list[dict[str, Any]]
) -> None:
    execute(con, "delete_models", version=version)
    insert_frame(con, "insert_models", pl.DataFrame(models))
    execute(con, "delete_held_out", version=version)
    insert_frame(con, "insert_performance", pl.DataFrame(metrics, infer_schema_length=None))


def insert_frame(con: duckdb.DuckDBPyConnection, name: str, rows: pl.DataFrame) -> None:
    """Runs a named insert that reads the frame `results`; no rows, nothing to insert."""
    if rows.height:
        con.register("results", rows)
        execute(con, name)
        con.unregister("results")


def _write_decision(
    con: duckdb.DuckDBPyConnection, run: Run, decision: Decision, champion: Champion | None
) -> None:
    execute(con, "delete_decision", month=str(run.month))
    execute(
        con,
        "insert_decision",
        month=str(run.month),
        verdict=decision.verdict,
        rule=decision.rule,
        value=decision.value,
        threshold=decision.threshold,
        reason=decision.reason,
        champion=champion.model if champion else None,
        version=champion.version if champion else None,
        run_id=run.run_id,
        decided_at=now(),
    )
