"""The registry as a person uses it: list, show, compare, promote, roll back.

A model is named `MODEL@VERSION`, such as `blend@2005-06-1a2b3c4d`. Any beginning of the version will do that
only one version of the model has (`blend@2005-06`, `blend@`), and `champion` names the champion in force.

A choice of champion counts from the run of one month on, until the run of a later month decides otherwise.
It changes what that month's rows follow from, so `creditflow run MONTH` then scores the month again.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import polars as pl

from creditflow.errors import ArtifactError, ArtifactOutdated, UsageError
from creditflow.month import Month
from sql.warehouse import execute, frame, open_warehouse, transaction
from tasks.derived import revised_since
from tasks.home import Home, locked
from tasks.ledger import new_run_id, now, readable
from tasks.options import Options

if TYPE_CHECKING:
    from models.develop import DevelopedModel
    from models.gate import Difference

CHAMPION = "champion"
NAMED_IN_ERRORS = 8
COMPARED = ("roc_auc", "average_precision", "ks", "brier", "ece", "mean_pd", "observed_rate")
Action = Literal["promote", "rollback"]


@dataclass(frozen=True)
class ModelId:
    """One model of one version."""

    model: str
    version: str

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"


@dataclass(frozen=True)
class Reign:
    """A champion and the month since when."""

    champion: ModelId
    since: Month
    reason: str


@dataclass(frozen=True)
class Change:
    """A change of champion that a person asked for."""

    champion: ModelId
    before: ModelId | None
    month: Month


# ── Naming ──────────────────────────────────────────────────────────────────────────────────────


def resolve(con: duckdb.DuckDBPyConnection, text: str) -> ModelId:
    """The one model that the text names.

    Raises:
        UsageError: none or several; what exists is named.
    """
    if text == CHAMPION:
        return _champion_or_refuse(con)
    models = registered(con)
    name, _, version = text.partition("@")
    found = [known for known in models if known.model == name and known.version.startswith(version)]
    exact = [known for known in found if known.version == version]
    if len(exact or found) == 1:
        return (exact or found)[0]
    raise UsageError(
        f"model {text!r}",
        expected="MODEL@VERSION of one model, or 'champion'" if not found else "one model",
        found=f"none of that name; there are {_listed(models)}" if not found else _listed(found),
        remedy="creditflow models list shows all."
        if not found
        else f"Write more of the version, such as {found[0]}.",
    )


def registered(con: duckdb.DuckDBPyConnection) -> list[ModelId]:
    """Every model, newest set first."""
    return [ModelId(*row[:2]) for row in execute(con, "registered_models")]


def _listed(models: Sequence[ModelId]) -> str:
    if not models:
        return "no models yet"
    more = f" and {len(models) - NAMED_IN_ERRORS} more" if len(models) > NAMED_IN_ERRORS else ""
    return ", ".join(map(str, models[:NAMED_IN_ERRORS])) + more


def _champion_or_refuse(con: duckdb.DuckDBPyConnection) -> ModelId:
    reign = champion_in_force(con)
    if reign is None:
        raise UsageError(
            CHAMPION,
            expected="a champion in force",
            found="none",
            remedy="Run a month: creditflow run MONTH.",
        )
    return reign.champion


# ── Champions ───────────────────────────────────────────────────────────────────────────────────


def reigns(changes: Sequence[tuple[Any, ...]]) -> list[Reign]:
    """The champions one can go back through, the one in force last.

    Args:
        changes: rows (month, action, model, version, reason, …) in the order in which they count. A rollback
            takes away what came after its champion, so that two of them go back two steps.
    """
    found: list[Reign] = []
    for month, action, model, version, reason, *_ in changes:
        reign = Reign(ModelId(model, version), Month.parse(month), reason)
        if found and found[-1].champion == reign.champion:
            continue
        earlier = [n for n, old in enumerate(found) if old.champion == reign.champion]
        if action == "rollback" and earlier:
            del found[earlier[-1] :]
        found.append(reign)
    return found


def champion_in_force(con: duckdb.DuckDBPyConnection, month: Month | None = None) -> Reign | None:
    """The champion of a month, by default of the newest that is loaded."""
    history = _history(con, month or newest_month(con))
    return history[-1] if history else None


def newest_month(con: duckdb.DuckDBPyConnection) -> Month | None:
    """The newest month with loaded clients."""
    newest = execute(con, "newest_loaded_month")[0][0]
    return Month.parse(newest) if newest else None


def _history(con: duckdb.DuckDBPyConnection, month: Month | None) -> list[Reign]:
    if month is None:
        return []
    return reigns([row for row in execute(con, "champion_changes") if row[0] <= str(month)])


# ── Asking ──────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def reading(home: Home) -> Iterator[duckdb.DuckDBPyConnection]:
    """The writer's database, or the readers' one while a run holds it.

    Raises:
        UsageError: there is no database yet.
    """
    if not home.warehouse.is_file():
        raise UsageError(
            "models",
            expected="a home in which a month was run",
            found=f"no database in {home.root}",
            remedy="Begin with: creditflow run MONTH, or creditflow demo.",
        )
    with readable(home) as con:
        yield con


def list_models(home: Home) -> pl.DataFrame:
    """One row a model, newest set first; it says where files that a model learned from were revised since."""
    with reading(home) as con:
        models, reign = frame(con, "registered_models"), champion_in_force(con)
        revised = [v for v in models["version"].unique().sort() if revised_since(con, v)]
    identity = pl.format("{}@{}", "model", "version")
    months = pl.col("training_months")
    since = f"since {reign.since}" if reign else ""
    first, last = months.list.min(), months.list.max()
    return models.select(
        identity.alias("model"),
        pl.when(identity == str(reign.champion if reign else "")).then(pl.lit(since)).alias("champion"),
        pl.when(first == last)
        .then(first)
        .otherwise(pl.format("{} to {}", first, last))
        .add(pl.when(pl.col("version").is_in(revised)).then(pl.lit(", since revised")).otherwise(pl.lit("")))
        .alias("learned_from"),
        pl.col("training_rows").alias("rows"),
        pl.col("training_defaulters").alias("defaulters"),
        "attributes",
        "calibrator",
        "cut_off",
        "held_out_roc_auc",
        "held_out_brier",
        "live_roc_auc",
        "live_month",
        "gate",
    )


def show_model(home: Home, text: str) -> dict[str, Any]:
    """All that is known of one model, from the registry's tables and from its artifact.

    Where the artifact cannot be read, `artifact.state` says why, and what stands only there is None.

    Raises:
        UsageError: no such model.
    """
    with reading(home) as con:
        found = resolve(con, text)
        key = asdict(found)
        row = frame(con, "registered_model", **key).row(0, named=True)
        reign = champion_in_force(con)
        tables = {
            name: frame(con, f"{name}_of_model", **key).to_dicts()
            for name in ("metrics", "gate", "promotions")
        }
    since = str(reign.since) if reign and reign.champion == found else None
    artifact = _artifact_facts(home, row)
    return {"id": str(found), "champion_since": since, **row, **artifact, **tables}


def _artifact_facts(home: Home, row: dict[str, Any]) -> dict[str, Any]:
    from models.artifacts import load, read_manifest

    folder = home.root / row["artifact"]
    try:
        model = load(folder, row["manifest_sha256"])
        manifest = read_manifest(folder, row["manifest_sha256"])
    except ArtifactError as error:
        names = ("features", "settings", "packages", "calibration", "cut_off_facts", "sample")
        return {"artifact_state": str(error)} | dict.fromkeys(names)
    return {
        "artifact_state": "every sum matches, and it scores its reference rows as recorded",
        "features": manifest["features"],
        "settings": manifest["settings"],
        "packages": manifest["packages"],
        "calibration": _calibration_facts(model),
        "cut_off_facts": asdict(model.cut_off),
        # Artifacts of earlier releases do not have it.
        "sample": manifest["facts"].get("sample"),
    }


def _calibration_facts(model: "DevelopedModel") -> dict[str, Any]:
    choice = model.calibration
    candidates = {
        name: {"brier": candidate.brier, "ece": candidate.ece} for name, candidate in choice.table.items()
    }
    return {
        "chosen": choice.chosen,
        "reason": choice.reason,
        "ece_floor": choice.ece_floor,
        "candidates": candidates,
    }


def load_of_set(con: duckdb.DuckDBPyConnection, home: Home, chosen: ModelId) -> "DevelopedModel":
    """The model, with every sum of its whole set checked.

    The whole set scores a month, so a damaged challenger stops it as much as a damaged champion.

    Raises:
        ArtifactError: an artifact of the set is missing, damaged, or not of this version of the code.
    """
    from models.artifacts import load, verify

    of_set = {row[0]: row[1:3] for row in execute(con, "models_of_version", version=chosen.version)}
    for name, (folder, manifest) in of_set.items():
        if name != chosen.model:
            verify(home.root / folder, manifest)
    folder, manifest = of_set[chosen.model]
    return load(home.root / folder, manifest)


# ── Comparing ───────────────────────────────────────────────────────────────────────────────────

_COMPARISON: dict[str, Any] = {
    "sample": pl.String,
    "month": pl.String,
    "basis": pl.String,
    "clients": pl.Int64,
    "defaulters": pl.Int64,
    "metric": pl.String,
    "a": pl.Float64,
    "b": pl.Float64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


def compare(home: Home, first: str, second: str, options: Options) -> tuple[ModelId, ModelId, pl.DataFrame]:
    """Two models side by side: held out, and on the clients whom both scored, in every month with outcomes.

    Held-out figures of two versions are each of its own clients, so they have no difference. `low` and `high`
    are the paired bootstrap interval of the promotion gate, for ROC AUC and Brier score.

    Returns:
        Both models, and rows of (sample, month, basis, clients, defaulters, metric, a, b, difference, low,
        high).

    Raises:
        UsageError: no such model, or twice the same.
    """
    with reading(home) as con:
        a, b = resolve(con, first), resolve(con, second)
        if a == b:
            raise UsageError(
                "models compare", expected="two models", found=f"{a} twice", remedy="Name another one."
            )
        pair = {"model_a": a.model, "version_a": a.version, "model_b": b.model, "version_b": b.version}
        rows = _held_out(con, a, b)
        for (month,) in execute(con, "months_of_both", **pair):
            both = frame(con, "pds_of_both", month=month, **pair)
            rows += _realised(month, both, options) if both.height else []
    return a, b, pl.DataFrame(rows, schema=_COMPARISON)


def _held_out(con: duckdb.DuckDBPyConnection, a: ModelId, b: ModelId) -> list[dict[str, Any]]:
    left, right = (_held_out_metrics(con, model) for model in (a, b))
    same = a.version == b.version
    rows = []
    for metric in (name for name in COMPARED if name in left and name in right):
        values = (left[metric]["value"], right[metric]["value"])
        shared = {key: left[metric][key] if same else None for key in ("month", "clients", "defaulters")}
        rows.append(_row("held out", None, "held_out", metric, *values, same) | shared)
    return rows


def _held_out_metrics(con: duckdb.DuckDBPyConnection, model: ModelId) -> dict[str, dict[str, Any]]:
    rows = frame(con, "metrics_of_model", **asdict(model)).to_dicts()
    return {row["metric"]: row for row in rows if row["sample"] == "held_out"}


def _realised(month: str, both: pl.DataFrame, options: Options) -> list[dict[str, Any]]:
    from models.metrics import classification_metrics

    y = both["defaulted"]
    left, right = (classification_metrics(y, both[name]) for name in ("pd_a", "pd_b"))
    bases = sorted({*both["basis_a"].unique(), *both["basis_b"].unique()})
    intervals = _intervals(both, options)
    counts = {"clients": both.height, "defaulters": int(y.sum())}
    return [
        _row("realised", month, ", ".join(bases), name, left[name].value, right[name].value, True)
        | counts
        | {end: getattr(intervals[name], end) for end in ("low", "high") if name in intervals}
        for name in COMPARED
    ]


def _row(
    sample: str, month: str | None, basis: str, metric: str, a: float | None, b: float | None, same: bool
) -> dict[str, Any]:
    difference = a - b if same and a is not None and b is not None else None
    return {
        "sample": sample,
        "month": month,
        "basis": basis,
        "metric": metric,
        "a": a,
        "b": b,
        "difference": difference,
    }


def _intervals(both: pl.DataFrame, options: Options) -> dict[str, "Difference"]:
    """Intervals by metric; none where a class has too few clients for a bootstrap."""
    from models.gate import CLASS_CLIENTS_MIN, paired_bootstrap

    defaulters = int(both["defaulted"].sum())
    if min(defaulters, both.height - defaulters) < CLASS_CLIENTS_MIN:
        return {}
    auc, brier = paired_bootstrap(
        both["defaulted"], both["pd_a"], both["pd_b"], confidence=options.gate_confidence, seed=options.seed
    )
    return {"roc_auc": auc, "brier": brier}


# ── Choosing ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Wish:
    """Who wants another champion, why, and under which settings."""

    reason: str
    by: str
    options: Options
    wait_seconds: float = 0.0


def promote(home: Home, text: str, wish: Wish, since: Month | None = None) -> Change:
    """Makes a model champion from a month on, by default the newest that is loaded.

    The artifact is loaded first, with every check; nothing is written where one fails.

    Raises:
        UsageError: no such model, no reason, champion already, or a month before the model was developed.
        ArtifactError: the artifact cannot be used, or knows attributes that the settings leave out.
        HomeLocked: a run is going on.
    """
    _check_reason(wish)
    with _deciding(home, "a promotion", wish) as con:
        chosen = resolve(con, text)
        month = _month_of_choice(con, since)
        before = champion_in_force(con, month)
        _check_choice(con, chosen, month, before)
        return _choose(con, home, "promote", chosen, before, month, wish)


def rollback(home: Home, wish: Wish) -> Change:
    """Makes the champion before the one in force champion again, from the newest loaded month on.

    Raises:
        UsageError: no reason, or no earlier champion.
        ArtifactError: as for `promote`.
        HomeLocked: a run is going on.
    """
    _check_reason(wish)
    with _deciding(home, "a rollback", wish) as con:
        month = _month_of_choice(con, None)
        history = _history(con, month)
        if len(history) < 2:
            found = (
                f"{history[0].champion} since {history[0].since}, the first one" if history else "no champion"
            )
            raise UsageError(
                "models rollback",
                expected="an earlier champion to go back to",
                found=found,
                remedy="creditflow models promote MODEL@VERSION puts any other model in force.",
            )
        return _choose(con, home, "rollback", history[-2].champion, history[-1], month, wish)


@contextmanager
def _deciding(home: Home, what: str, wish: Wish) -> Iterator[duckdb.DuckDBPyConnection]:
    with reading(home):
        pass
    with locked(home, what, wish.wait_seconds), open_warehouse(home.warehouse) as con:
        yield con


def _check_reason(wish: Wish) -> None:
    if not wish.reason.strip():
        raise UsageError("--reason", expected="a few words", found="none", remedy="Say why, for the record.")


def _month_of_choice(con: duckdb.DuckDBPyConnection, since: Month | None) -> Month:
    month = since or newest_month(con)
    if month is None:
        raise UsageError(
            "models", expected="a loaded month", found="none", remedy="Run one first: creditflow run MONTH."
        )
    return month


def _check_choice(
    con: duckdb.DuckDBPyConnection, chosen: ModelId, month: Month, before: Reign | None
) -> None:
    developed = Month.parse(execute(con, "model_on_record", **asdict(chosen))[0][3])
    if month < developed:
        raise UsageError(
            "--from",
            expected=f"{developed}, when {chosen} was developed, or a later month",
            found=str(month),
            remedy="An earlier month would be scored with what became known after it.",
        )
    if before and before.champion == chosen:
        raise UsageError(
            f"model {chosen}",
            expected="a model that is not champion already",
            found=f"the champion since {before.since}",
            remedy="creditflow models list shows the others.",
        )


def _choose(
    con: duckdb.DuckDBPyConnection,
    home: Home,
    action: Action,
    chosen: ModelId,
    before: Reign | None,
    month: Month,
    wish: Wish,
) -> Change:
    _check_artifact(con, home, chosen, wish.options)
    moment: datetime = now()
    with transaction(con):
        execute(
            con,
            "insert_promotion",
            promotion_id=f"{action}-{new_run_id()}",
            month=str(month),
            action=action,
            model=chosen.model,
            version=chosen.version,
            from_model=before.champion.model if before else None,
            from_version=before.champion.version if before else None,
            reason=wish.reason.strip(),
            decided_by=wish.by,
            decided_at=moment,
            run_id=None,
        )
    return Change(chosen, before.champion if before else None, month)


def _check_artifact(con: duckdb.DuckDBPyConnection, home: Home, chosen: ModelId, options: Options) -> None:
    """Everything that would keep a run from scoring by the model.

    Raises:
        ArtifactError: it cannot be loaded, or knows attributes that the settings leave out.
    """
    attributes = execute(con, "model_on_record", **asdict(chosen))[0][2]
    if options.attributes == "unprotected" and attributes != "unprotected":
        raise ArtifactOutdated(
            f"model {chosen}",
            expected="a model without sex, marriage and age, as CREDITFLOW_ATTRIBUTES=unprotected demands",
            found=f"one developed with CREDITFLOW_ATTRIBUTES={attributes}",
            remedy="Choose another model, or change the setting for all of them.",
        )
    load_of_set(con, home, chosen)
