"""Model cards: one page for every registered model, an index of the sets, and the list of reasons.

After Mitchell et al. (2019), "Model cards for model reporting", FAT*, in the words of credit risk. A card is
made from the warehouse's small tables and from the manifest, calibration and cut-off of the model's artifact.
It changes when months are realised, gates are passed or champions change; each card carries a digest of what
it was made from, and is made again only when that differs. Every page is put in place by rename.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import duckdb

from creditflow.errors import CreditflowError
from creditflow.version import code_version
from tasks.reports.gather import GateCheck, Metric, Promotion, records

MODELS_FOLDER = "models"
INDEX, REASONS = "index.html", "reasons.html"
# What a card shows of each file; one that lacks any of it is not read, whatever its sum.
_SHOWN = {
    "manifest.json": ("format", "features", "settings", "training", "packages"),
    "calibration.json": ("chosen", "reason", "rows", "defaulters", "folds", "ece_floor", "candidates"),
    "cut_off.json": (
        "cut_off", "rule", "costs", "cost", "cost_approving_all", "cost_refusing_all", "refused", "rows",
        "defaulters",
    ),
}  # fmt: skip
# The digest stands in the head of the page, before the styles.
_HEAD_BYTES = 1024
_MADE_FROM = re.compile(r'name="made-from" content="([0-9a-f]{64})"')

# --- Facts ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Registered:
    """A row of the table `models`."""

    model: str
    version: str
    month: str
    training_months: list[str]
    training_rows: int
    training_defaulters: int
    training_sha256: str
    manifest_sha256: str
    artifact: str
    seed: int
    fit_seconds: float
    code_version: str
    run_id: str
    trained_at: datetime
    attributes: str
    calibrator: str
    cut_off: float | None


@dataclass(frozen=True)
class SetMonth:
    """A scored month: by which set, who was champion, and whether any outcome is known."""

    month: str
    version: str
    champion: str
    has_outcomes: bool


@dataclass(frozen=True)
class ChampionMonth:
    """The champion in force after the decision of a month."""

    month: str
    model: str
    version: str


@dataclass(frozen=True)
class Period:
    """Months in a row with one champion; `still` where it is in force after the newest decision."""

    model: str
    version: str
    first: str
    last: str
    still: bool


@dataclass(frozen=True)
class Realised:
    """A model's metrics of one scored month; `reason` where there are none."""

    month: str
    basis: str | None
    metrics: dict[str, Metric]
    reason: str | None


@dataclass(frozen=True)
class Card:
    """What the warehouse knows of one model. `champion` is the one in force, of whatever set."""

    model: Registered
    held_out: dict[str, Metric]
    realised: list[Realised]
    gate: list[GateCheck]
    judged: str | None
    promotions: list[Promotion]
    periods: list[Period]
    champion: Period | None

    @property
    def is_champion(self) -> bool:
        return self.champion is not None and _key(self.champion) == _key(self.model)

    @property
    def newest(self) -> Realised | None:
        """The newest month with realised metrics."""
        return next((r for r in reversed(self.realised) if r.metrics), None)


@dataclass(frozen=True)
class Artifact:
    """What a model's artifact tells of it; `problem` where it cannot be read, and the rest is empty."""

    manifest: dict[str, Any]
    calibration: dict[str, Any]
    cut_off: dict[str, Any]
    problem: str | None = None


@dataclass(frozen=True)
class ModelSet:
    """The cards of one version, and who of them is champion."""

    version: str
    cards: list[Card]

    @property
    def first(self) -> Registered:
        return self.cards[0].model


@dataclass(frozen=True)
class ReasonText:
    code: str
    reason: str
    meaning: str


# --- Reading --------------------------------------------------------------------------------------


def gather_cards(con: duckdb.DuckDBPyConnection) -> list[Card]:
    """The facts of every registered model, newest set first."""
    metrics = _grouped(records(con, "report_card_metrics", Metric))
    gate = records(con, "report_gate", GateCheck, month=None)
    promotions = records(con, "report_promotions", Promotion, month=None)
    periods = champion_periods(records(con, "report_champions", ChampionMonth))
    months = records(con, "report_set_months", SetMonth)
    champion = next((p for p in periods if p.still), None)
    judged = {check.version: check.model for check in gate}
    return [
        Card(
            model=model,
            held_out={m.metric: m for m in metrics.get(_key(model), []) if m.sample == "held_out"},
            realised=_realised(
                metrics.get(_key(model), []), [m for m in months if m.version == model.version]
            ),
            gate=[check for check in gate if _key(check) == _key(model)],
            judged=judged.get(model.version),
            promotions=[p for p in promotions if _key(model) in (_key(p), (p.from_model, p.from_version))],
            periods=[p for p in periods if _key(p) == _key(model)],
            champion=champion,
        )
        for model in records(con, "report_cards", Registered)
    ]


def champion_periods(months: Sequence[ChampionMonth]) -> list[Period]:
    """Months in a row with the same champion, drawn together; the last period is still in force."""
    found = []
    for (model, version), run in groupby(months, attrgetter("model", "version")):
        names = [m.month for m in run]
        found.append(Period(model, version, names[0], names[-1], False))
    return [*found[:-1], replace(found[-1], still=True)] if found else []


def _realised(metrics: Iterable[Metric], months: Sequence[SetMonth]) -> list[Realised]:
    """Metrics by month, and a reason for each scored month that has none, oldest first."""
    by_month: dict[str, dict[str, Metric]] = {}
    for metric in metrics:
        if metric.sample == "realised":
            by_month.setdefault(metric.month, {})[metric.metric] = metric
    known = [Realised(m, next(iter(f.values())).basis, f, None) for m, f in by_month.items()]
    waiting = [Realised(m.month, None, {}, _waiting(m)) for m in months if m.month not in by_month]
    return sorted([*known, *waiting], key=attrgetter("month"))


def _waiting(month: SetMonth) -> str:
    if month.has_outcomes:
        return f"not computed yet: the outcomes of {month.month} are known, and the next run measures them"
    return f"none yet: outcomes of {month.month} not received"


def _grouped(metrics: Iterable[Metric]) -> dict[tuple[str, str], list[Metric]]:
    grouped: dict[tuple[str, str], list[Metric]] = {}
    for metric in metrics:
        grouped.setdefault(_key(metric), []).append(metric)
    return grouped


def _key(thing: Any) -> tuple[str, str]:
    return thing.model, thing.version


# --- The artifact ---------------------------------------------------------------------------------


def read_artifact(folder: Path, manifest_sha256: str) -> Artifact:
    """Manifest, calibration and cut-off, their sums checked; a problem is told, never raised."""
    from models.artifacts import CALIBRATION, CUT_OFF, MANIFEST, read_manifest

    try:
        manifest = _whole(MANIFEST, read_manifest(folder, manifest_sha256))
        return Artifact(manifest, _table(folder, CALIBRATION, manifest), _table(folder, CUT_OFF, manifest))
    except CreditflowError as error:
        # The file's name alone: where the artifacts lie is no business of whoever reads the reports.
        name = Path(error.where).name
        return Artifact({}, {}, {}, f"{name}: expected {error.expected}, found {error.found}")
    except OSError as error:
        return Artifact(
            {}, {}, {}, f"{Path(error.filename or folder).name}: {error.strerror or type(error).__name__}"
        )
    except ValueError as error:
        return Artifact({}, {}, {}, str(error))


def _table(folder: Path, name: str, manifest: dict[str, Any]) -> dict[str, Any]:
    content = (folder / name).read_bytes()
    found, wanted = hashlib.sha256(content).hexdigest(), manifest["files"][name]["sha256"]
    if found != wanted:
        raise ValueError(f"{name}: expected SHA-256 {wanted}, found {found}")
    return _whole(name, json.loads(content))


def _whole(name: str, table: dict[str, Any]) -> dict[str, Any]:
    missing = [key for key in _SHOWN[name] if key not in table]
    if missing:
        raise ValueError(f"{name}: expected {', '.join(_SHOWN[name])}, found no {', '.join(missing)}")
    return table


# --- Building -------------------------------------------------------------------------------------


def build_cards(con: duckdb.DuckDBPyConnection, reports_dir: Path, root: Path) -> list[Path]:
    """Builds the cards that changed, the index of the sets and the list of reasons.

    Args:
        con: the warehouse; only read.
        reports_dir: the pages land in its folder `models`.
        root: the folder that the table `models` names artifacts under.

    Returns:
        The cards that were written. The index follows them, so that it links nothing that is not there.
    """
    from tasks.reports import pages

    folder, cards = reports_dir / MODELS_FOLDER, gather_cards(con)
    written = [page for card in cards if (page := _build_card(card, folder, root))]
    _put(folder / REASONS, pages.reasons_page(records(con, "report_reason_texts", ReasonText)))
    _put(folder / INDEX, pages.models_page(model_sets(cards)))
    return written


def model_sets(cards: Sequence[Card]) -> list[ModelSet]:
    """The cards by version, in the order given."""
    versions = list(dict.fromkeys(card.model.version for card in cards))
    return [ModelSet(v, [c for c in cards if c.model.version == v]) for v in versions]


def card_path(version: str, model: str) -> str:
    """Where a card lies below the folder of all reports."""
    return f"{MODELS_FOLDER}/{version}/{model}.html"


def _build_card(card: Card, folder: Path, root: Path) -> Path | None:
    """The card's page if it had to be written."""
    from tasks.reports import pages

    page, artifact = folder / card.model.version / f"{card.model.model}.html", root / card.model.artifact
    made_from = _digest(card, artifact)
    if _recorded(page) == made_from:
        return None
    _put(page, pages.card_page(card, read_artifact(artifact, card.model.manifest_sha256), made_from))
    return page


def _digest(card: Card, artifact: Path) -> str:
    """SHA-256 of all that shows on the card: facts, the artifact's JSON files, the code that words it."""
    files = [_bytes(path) for path in sorted(artifact.glob("*.json"))]
    return hashlib.sha256(repr((card, files, code_version())).encode()).hexdigest()


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _recorded(page: Path) -> str | None:
    try:
        with page.open("rb") as file:
            head = file.read(_HEAD_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    found = _MADE_FROM.search(head)
    return found[1] if found else None


def _put(page: Path, text: str) -> None:
    """Written beside its place, then renamed, unless it is there already."""
    content = text.encode()
    if page.is_file() and page.read_bytes() == content:
        return
    page.parent.mkdir(parents=True, exist_ok=True)
    building = page.with_name(f".building-{page.name}")
    building.write_bytes(content)
    os.replace(building, page)
