"""`creditflow models`: the registry on the command line. Heavy imports stay inside the commands.

Who may put a model in force is whoever may write to the home; each change is kept with its reason and the
name of the user who made it.
"""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from creditflow.month import Month

if TYPE_CHECKING:
    import polars as pl

    from flows.settings import Settings
    from tasks.registry import Change, Wish

app = typer.Typer(
    no_args_is_help=True,
    help="List, show and compare models; choose the champion by hand.",
    epilog="A model is named MODEL@VERSION, such as blend@2005-06-1a2b3c4d. Any beginning of VERSION will do "
    "that only one version of the model has: blend@2005-06. 'champion' names the champion in force.",
)

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL@VERSION", help="The model, or 'champion'.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept with the change.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


# ── Commands ────────────────────────────────────────────────────────────────────────────────────


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List every model, newest set first."""
    from flows import show
    from tasks import registry
    from tasks.home import Home

    found = registry.list_models(Home(_settings().home))
    show.print_frame(found, "json" if as_json else "table")


@app.command("show")
def show_model(model: ModelArgument = "champion", as_json: JsonOption = False) -> None:
    """Show what is known of one model: data, features, settings, metrics, gate. By default the champion."""
    from tasks import registry
    from tasks.home import Home

    facts = registry.show_model(Home(_settings().home), model)
    if as_json:
        typer.echo(json.dumps(facts, indent=2, default=str, ensure_ascii=False))
    else:
        _print_model(facts)


@app.command()
def compare(first: ModelArgument, second: ModelArgument, as_json: JsonOption = False) -> None:
    """Compare two models: held out, and month by month on the clients whom both scored."""
    from flows import show
    from flows.options import run_options
    from tasks import registry
    from tasks.home import Home

    settings = _settings()
    a, b, table = registry.compare(Home(settings.home), first, second, run_options(settings))
    if as_json:
        typer.echo(json.dumps({"a": str(a), "b": str(b), "rows": table.to_dicts()}, indent=2))
        return
    show.print_frame(table.rename({"a": str(a), "b": str(b)}), "table")
    if a.version != b.version:
        show.hints.print("Held out: each model on its own held-out clients, so without a difference.")
    show.hints.print(f"low, high: paired bootstrap, {settings.gate_confidence:.0%} confidence.")


@app.command()
def promote(
    model: ModelArgument,
    reason: ReasonOption,
    since: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="MONTH", help="From which month on; by default the newest loaded one."
        ),
    ] = None,
) -> None:
    """Make a model champion, after loading its artifact with every check."""
    from tasks import registry
    from tasks.home import Home

    settings = _settings()
    month = Month.parse(since) if since else None
    _print_change(registry.promote(Home(settings.home), model, _wish(settings, reason), month))


@app.command()
def rollback(reason: ReasonOption) -> None:
    """Make the champion before the one in force champion again."""
    from tasks import registry
    from tasks.home import Home

    settings = _settings()
    _print_change(registry.rollback(Home(settings.home), _wish(settings, reason)))


def _settings() -> "Settings":
    from flows.quiet import quiet_settings

    return quiet_settings()


def _wish(settings: "Settings", reason: str) -> "Wish":
    from flows.options import run_options
    from tasks import ledger
    from tasks.registry import Wish

    return Wish(reason, ledger.user(), run_options(settings), settings.lock_wait_seconds)


# ── Printing ────────────────────────────────────────────────────────────────────────────────────


def _print_change(change: "Change") -> None:
    from flows import show

    before = f", after {change.before}" if change.before else ""
    show.print_lines([f"{change.champion} is champion from {change.month} on{before}"])
    show.hints.print(
        f"To score by it: creditflow run {change.month}; later months that were run: run them again.",
        soft_wrap=True,
    )


def _print_model(facts: dict[str, Any]) -> None:
    from flows import show

    show.print_lines([f"{name:<16} {value}" for name, value in _headline(facts)])
    for title, table in _sections(facts):
        show.print_lines(["", title])
        if isinstance(table, str):
            show.print_lines([table])
        else:
            show.print_table(table)


def _headline(facts: dict[str, Any]) -> list[tuple[str, str]]:
    months = facts["training_months"]
    features, cut_off = facts["features"], facts["cut_off"]
    unread = "not readable; see artifact"
    return [
        ("model", facts["id"]),
        ("champion", f"since {facts['champion_since']}" if facts["champion_since"] else "no"),
        (
            "developed",
            f"{facts['month']}, at {facts['trained_at']:%Y-%m-%d %H:%M} UTC in {facts['fit_seconds']:.1f} s",
        ),
        ("learned from", f"{months[0]} to {months[-1]}" if len(months) > 1 else months[0]),
        ("rows", f"{facts['training_rows']:,}, of which {facts['training_defaulters']:,} defaults"),
        ("drawn from", _pool(facts["sample"])),
        ("data", f"SHA-256 {facts['training_sha256']}"),
        ("features", f"{len(features)}, attributes: {facts['attributes']}" if features else unread),
        ("calibrator", facts["calibrator"]),
        ("cut-off", "none on record" if cut_off is None else f"PD {cut_off:.4f}"),
        ("seed", str(facts["seed"])),
        ("code", facts["code_version"]),
        (
            "packages",
            ", ".join(f"{k} {v}" for k, v in facts["packages"].items()) if facts["packages"] else unread,
        ),
        ("artifact", f"{facts['artifact']}: {facts['artifact_state']}"),
    ]


def _pool(sample: dict[str, Any] | None) -> str:
    if sample is None:
        return "not on record"
    limit = f"; the limit is {sample['max_rows']:,}, see the model card for what it costs"
    return f"{sample['pool']:,} client-months" + (limit if sample["learning_curve"] else "")


def _sections(facts: dict[str, Any]) -> list[tuple[str, "pl.DataFrame | str"]]:
    import polars as pl

    return [
        (_calibration_title(facts["calibration"]), _calibration_table(facts["calibration"])),
        ("Metrics", _metrics_table(facts["metrics"])),
        ("Gate", _gate_table(facts["gate"])),
        (
            "Champion",
            pl.DataFrame(facts["promotions"]).drop("decided_at")
            if facts["promotions"]
            else "It was never champion.",
        ),
        ("Settings", _settings_table(facts["settings"])),
    ]


def _settings_table(settings: dict[str, dict[str, Any]] | None) -> "pl.DataFrame | str":
    import polars as pl

    if settings is None:
        return "The artifact cannot be read."
    rows = [
        {"part": part, "setting": name, "value": json.dumps(value)}
        for part, values in settings.items()
        for name, value in values.items()
    ]
    return pl.DataFrame(rows)


def _calibration_title(calibration: dict[str, Any] | None) -> str:
    if calibration is None:
        return "Calibration"
    return f"Calibration, cross-fitted (perfect PDs would show an ECE of {calibration['ece_floor']:.4f} here)"


def _calibration_table(calibration: dict[str, Any] | None) -> "pl.DataFrame | str":
    import polars as pl

    if calibration is None:
        return "The artifact cannot be read."
    return pl.DataFrame(
        [
            {"calibrator": name, **figures, "chosen": "yes" if name == calibration["chosen"] else ""}
            for name, figures in calibration["candidates"].items()
        ]
    )


def _metrics_table(metrics: list[dict[str, Any]]) -> "pl.DataFrame | str":
    """One row a sample and month, one column a metric."""
    import polars as pl

    if not metrics:
        return "No figure is on record."
    keys = ["sample", "month", "basis", "clients", "defaulters"]
    wide = pl.DataFrame(metrics, infer_schema_length=None).pivot("metric", index=keys, values="value")
    return wide.sort("sample", "month")


def _gate_table(gate: list[dict[str, Any]]) -> "pl.DataFrame | str":
    import polars as pl

    if not gate:
        return "It was never held to the gate: only the best model of a set is."
    words = {True: "passed", False: "failed", None: "not run"}
    return pl.DataFrame(
        [
            {"check": check["name"], "verdict": words[check["passed"]]}
            | {name: check[name] for name in ("value", "low", "high", "threshold", "reason")}
            for check in gate
        ],
        infer_schema_length=None,
    )
