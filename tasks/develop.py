"""Develops the model set where the decision says so, keeps it as artifacts, and names the champion.

The version of a set follows from what went into it (training data, code, seed, settings), so the same month
developed twice is the same version, bit by bit. Its best model is the challenger; it becomes champion through
the promotion gate (`tasks.gate`). A set that the gate refused stays in the registry and can be promoted by
hand.

Where more client-months have outcomes than a set may learn from, a sample is drawn: each stratum of month and
outcome gives its share (`models.sample.allocate`), and within a stratum those with the smallest lots are
taken, a seeded hash of month and client. So the same pool gives the same sample on any machine, whatever the
order of rows and the number of threads, and memory follows the sample.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl

from creditflow.errors import TrainingError, UsageError
from creditflow.month import Month
from sql.warehouse import execute, frame, open_warehouse, transaction
from tasks.decide import Champion, Decision, Verdict, champion_named
from tasks.derived import learned_contents
from tasks.gate import check_rows, hold
from tasks.home import Home
from tasks.ledger import NEVER_BEFORE, now
from tasks.options import Options
from tasks.stage import Run, stage

if TYPE_CHECKING:
    from models.develop import DevelopedModel

RUN = "creditflow"


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


@stage("champion")
def champion_of_today(run: Run) -> Developed:
    """The newest champion in force, for a month that is scored as of now; nothing is decided or written.

    Raises:
        UsageError: there is no champion yet.
    """
    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con:
        named = execute(con, "champion_before", month=NEVER_BEFORE)
        if not named:
            raise UsageError(
                f"month {run.month} as of now",
                expected="a champion in force",
                found="none",
                remedy=f"Run it as of then: creditflow run {run.month}.",
            )
        return Developed("reuse", champion_named(con, named), "as of now, by today's champion")


def _keep(run: Run, decision: Decision) -> Developed:
    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con, transaction(con):
        _write_decision(con, run, decision, decision.champion)
        _forget_gate(con, run, replaced=False)
    return Developed(decision.verdict, decision.champion, decision.reason)


# ── Retraining ──────────────────────────────────────────────────────────────────────────────────


def _retrain(run: Run, decision: Decision) -> Developed:
    from models.cost import Costs
    from models.develop import choose_champion, training_sha256
    from models.develop import develop as fit_set

    data, sample = training_data(run, decision.training_months)
    data_sha256 = training_sha256(data)
    version = set_version(run, data_sha256)
    options = run.options
    costs = Costs(options.cost_missed_default, options.cost_refused_good)
    fitted = fit_set(data, seed=options.seed, attributes=options.attributes, costs=costs)
    challenger = Champion(choose_champion(fitted), version, run.month)
    verdict, judged = hold(run, decision, data, next(m for m in fitted if m.name == challenger.model))
    reason = f"{decision.reason} {challenger} was developed. {verdict.reason}"
    checks = check_rows(run, decision, challenger, verdict, judged)
    files = _training_files(run, decision.training_months)
    learned = {"training_files": files, "training_months": [str(m) for m in decision.training_months]}
    told = _told(sample, data, options)
    rows = [_save(run, model, version, data_sha256, told) | learned for model in fitted]
    champion = challenger if verdict.promoted else decision.champion
    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con, transaction(con):
        _write_models(con, version, rows, held_out_rows(run.month, version, fitted))
        _write_decision(con, run, replace(decision, reason=reason), champion)
        _forget_gate(con, run, replaced=True)
        insert_frame(con, "insert_gate_checks", pl.DataFrame(checks, infer_schema_length=None))
        if verdict.promoted:
            _write_promotion(con, run, decision, challenger, verdict.reason)
    return Developed(decision.verdict, champion, reason, data.height)


def set_version(run: Run, data_sha256: str) -> str:
    """The month of development and eight hexadecimal digits of what went in."""
    options = run.options
    ingredients = [
        data_sha256,
        run.code_version,
        options.seed,
        options.attributes,
        options.cost_missed_default,
        options.cost_refused_good,
    ]
    return f"{run.month}-{hashlib.sha256(json.dumps(ingredients).encode()).hexdigest()[:8]}"


def artifact_folder(home: Home, version: str, model: str) -> Path:
    """Where one model of a set is kept."""
    return home.artifacts / version / model


def _training_files(run: Run, months: Sequence[Month]) -> str:
    """JSON of the contents that the months hold now, to notice later that one of them was revised."""
    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con:
        return json.dumps(learned_contents(con, [str(month) for month in months]), sort_keys=True)


def _save(
    run: Run, model: "DevelopedModel", version: str, data_sha256: str, sample: dict[str, Any]
) -> dict[str, Any]:
    """Keeps the artifact and returns its row of the table `models`."""
    from models.artifacts import save

    folder = artifact_folder(run.home, version, model.name)
    facts = {
        "version": version,
        "training_sha256": data_sha256,
        "code_version": run.code_version,
        "sample": sample,
    }
    return {
        "model": model.name,
        "version": version,
        "month": str(run.month),
        "training_rows": model.facts.rows,
        "training_defaulters": model.facts.defaulters,
        "training_sha256": data_sha256,
        "manifest_sha256": save(model, folder, facts),
        "artifact": folder.relative_to(run.home.root).as_posix(),
        "attributes": model.facts.attributes,
        "calibrator": model.calibration.chosen,
        "cut_off": model.cut_off.cut_off,
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


# ── The sample ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Sampled:
    """Client-months of one month and outcome: how many have an outcome, and how many are learned from."""

    month: str
    defaulted: int
    pool: int
    sample: int


def training_data(run: Run, months: Sequence[Month]) -> tuple[pl.DataFrame, list[Sampled]]:
    """Client-months with their outcomes, by month and client, at most `training_max_rows` of them.

    Returns:
        The rows, and what each stratum of month and outcome holds and gave.
    """
    names, seed = sorted(str(month) for month in months), str(run.options.seed)
    with open_warehouse(run.home.warehouse, memory_limit=run.memory_limit) as con:
        # A month at a time: the join's hash table is then as large as a month, and not as the pool.
        counted = [
            frame(con, "training_strata", month=m, seed=seed).select(pl.lit(m).alias("month"), pl.all())
            for m in names
        ]
        strata = _strata(pl.concat(counted), run.options.training_max_rows)
        parts = [frame(con, "training_frame", month=m, seed=seed, **_wanted(strata, m)) for m in names]
    told = [Sampled(*row) for row in strata.select("month", "defaulted", "pool", "sample").iter_rows()]
    return pl.concat(parts), told


def _strata(counted: pl.DataFrame, most: int) -> pl.DataFrame:
    """Rows that each month and outcome gives, and the last lot range that they reach into."""
    from models.sample import allocate

    pool = counted.group_by("month", "defaulted", maintain_order=True).agg(pool=pl.col("rows").sum())
    given = allocate({(m, d): n for m, d, n in pool.iter_rows()}, most)
    strata = pool.with_columns(sample=pl.Series(list(given.values()), dtype=pl.Int64))
    up_to = pl.col("rows").cum_sum().over("month", "defaulted")
    reached = counted.join(strata, on=["month", "defaulted"]).filter(
        up_to - pl.col("rows") < pl.col("sample")
    )
    last = reached.group_by("month", "defaulted").agg(last_range=pl.col("lot_range").max())
    return strata.join(last, on=["month", "defaulted"], how="left", maintain_order="left")


def _wanted(strata: pl.DataFrame, month: str) -> dict[str, int]:
    """Parameters of the query `training_frame`; an outcome that a month lacks gives no row."""
    by_outcome = {row["defaulted"]: row for row in strata.filter(month=month).iter_rows(named=True)}
    wanted = {}
    for outcome, name in enumerate(("paid", "defaulted")):
        row = by_outcome.get(outcome, {})
        wanted[f"rows_{name}"] = row.get("sample", 0)
        wanted[f"last_range_{name}"] = row.get("last_range") or 0
    return wanted


def _told(strata: Sequence[Sampled], data: pl.DataFrame, options: Options) -> dict[str, Any]:
    """What the artifacts say of the sample; what it costs, where it was cut."""
    from models.sample import bound_on_loss, learning_curve

    pool = sum(stratum.pool for stratum in strata)
    told = {"max_rows": options.training_max_rows, "pool": pool, "strata": [asdict(s) for s in strata]}
    if pool <= data.height:
        return told | {"learning_curve": None, "auc_loss_at_most": None}
    curve = learning_curve(data, seed=options.seed, attributes=options.attributes)
    bound = bound_on_loss(curve[1], pool, data.height)
    return told | {"learning_curve": [asdict(step) for step in curve], "auc_loss_at_most": bound}


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
    month = str(run.month)
    execute(con, "delete_decision", month=month)
    execute(
        con,
        "insert_decision",
        month=month,
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
    rules = [
        {"month": month, "position": position} | vars(rule)
        for position, rule in enumerate(decision.rules, start=1)
    ]
    execute(con, "delete_retrain_rules", month=month)
    insert_frame(con, "insert_retrain_rules", pl.DataFrame(rules, infer_schema_length=None))


def _forget_gate(con: duckdb.DuckDBPyConnection, run: Run, *, replaced: bool) -> None:
    """Makes room for what this run says of the gate; what a person's choice answered to is kept."""
    for table in ("gate_checks", "promotions"):
        execute(con, f"delete_{table}", month=str(run.month), replaced=replaced)


def _write_promotion(
    con: duckdb.DuckDBPyConnection, run: Run, decision: Decision, challenger: Champion, reason: str
) -> None:
    before = decision.champion
    action = "first" if before is None else "replacement" if decision.unusable else "gate"
    execute(
        con,
        "insert_promotion",
        promotion_id=f"{action}-{run.month}",
        month=str(run.month),
        action=action,
        model=challenger.model,
        version=challenger.version,
        from_model=before.model if before else None,
        from_version=before.version if before else None,
        reason=reason,
        decided_by=RUN,
        decided_at=now(),
        run_id=run.run_id,
    )
