"""Evidently's workspace for `creditflow ui`: every scored month as snapshots behind one dashboard.

A month has a snapshot of the drift report and, once outcomes are known, one of the classification report.
The name of a snapshot's file follows from what the snapshot is made of: a file that is there is up to date,
one that nothing leads to is removed, and there is no list of them to go wrong. The workspace is derived: it
may be deleted at any time, and the next `creditflow ui` makes it anew.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cache, lru_cache
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from uuid import NAMESPACE_URL, UUID, uuid5

import duckdb
import polars as pl
from filelock import FileLock, Timeout

from creditflow.columns import OUTCOME
from creditflow.errors import CreditflowError, HomeLocked, HomeUnusable
from creditflow.month import Month
from sql.warehouse import frame
from tasks.home import Home, unusable
from tasks.ledger import readable
from tasks.reports.evidently_pages import (
    CATEGORICAL_TEST,
    NUMERICAL_TEST,
    PD_CUT,
    comparable,
    drift_parts,
    one_class,
    silence,
)
from tasks.reports.gather import sample

if TYPE_CHECKING:
    from evidently import Dataset
    from evidently.core.report import Snapshot
    from evidently.sdk.models import DashboardPanelPlot, PanelMetric

PROJECT: Final = "creditflow"
Kind = Literal["drift", "classification"]
KINDS: Final[tuple[Kind, ...]] = ("drift", "classification")
# Evidently has no Brier score; it is the mean of this column.
SQUARED_ERROR: Final = "squared error of the PD (mean: Brier score)"
_LOG = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
# (home, model, version, SHA-256 of the manifest) -> attributes, score, pd and defaulted.
ReferenceReader = Callable[[Home, str, str, str], pl.DataFrame]


@dataclass(frozen=True)
class Sampling:
    """Who goes to Evidently: at most `rows` a side, chosen by `seed`."""

    rows: int
    seed: int


@dataclass(frozen=True)
class ScoredMonth:
    """A scored month: its champion, and the runs that its clients, scores and outcomes came from."""

    month: str
    model: str
    version: str
    manifest_sha256: str
    clients_run: str | None
    scores_run: str
    outcomes_run: str | None
    scored: int


@dataclass(frozen=True)
class Updated:
    """What was done to a workspace; `left_out` says of each snapshot that could not be made why not."""

    folder: Path
    project: UUID
    made: tuple[str, ...]
    kept: int
    removed: int
    left_out: tuple[str, ...]


def workspace_folder(home: Home) -> Path:
    """Where the workspace of a home lies."""
    return home.root / "evidently"


def stored_reference(home: Home, model: str, version: str, manifest_sha256: str) -> pl.DataFrame:
    """The sample that a champion was developed on: the attributes, score, pd and defaulted.

    Raises:
        ArtifactError: its artifact is missing, damaged or of another version.
    """
    from models.artifacts import load_reference

    return load_reference(home.artifacts / version / model, manifest_sha256)


# ── Bringing it up to date ──────────────────────────────────────────────────────────────────────


def update_workspace(
    home: Home,
    sampling: Sampling,
    *,
    months: Sequence[Month] | None = None,
    wait_seconds: float = 10,
    progress: Progress = lambda *_: None,
    reference_of: ReferenceReader = stored_reference,
) -> Updated:
    """Makes the snapshots that are missing or behind what the database holds, and removes all others.

    Args:
        months: only their snapshots are made; those of other months stay as far as they are up to date.
        wait_seconds: how long to wait for another process that does the same.
        progress: called with (description, done, total).
        reference_of: reads the sample that a champion was developed on.

    Raises:
        HomeUnusable: no month, or none of `months`, is scored; the disk refuses.
        HomeLocked: another process brings the workspace up to date.
        WarehouseCorrupt: the database is damaged.
        ArtifactError: a champion's artifact is missing, damaged or of another version.
    """
    found = _scored_months(home)
    asked = None if months is None else {str(month) for month in months}
    chosen = [scored for scored in found if asked is None or scored.month in asked]
    if not chosen:
        raise _nothing_scored(home, months)
    try:
        with _only_one(home, wait_seconds):
            update = _Update(home, sampling, progress, lru_cache(maxsize=1)(reference_of), project_id())
            return update.run(found, chosen)
    except OSError as error:
        raise unusable(workspace_folder(home), error) from error


@dataclass
class _Update:
    """One pass over the months. The database is held only to read: no run waits for Evidently."""

    home: Home
    sampling: Sampling
    progress: Progress
    reference_of: ReferenceReader
    project: UUID
    made: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def run(self, found: Sequence[ScoredMonth], chosen: Sequence[ScoredMonth]) -> Updated:
        self._write_project()
        present = self._present()
        due = {self._name(scored, kind) for scored in found for kind in kinds_of(scored)}
        for gone in present - due:
            (self._snapshots / gone).unlink()
        missing = [scored for scored in chosen if self._missing(scored, present)]
        for done, scored in enumerate(missing):
            self.progress(scored.month, done, len(missing))
            self._make(scored)
        return Updated(
            workspace_folder(self.home),
            self.project,
            tuple(self.made),
            len(present & due),
            len(present - due),
            tuple(self.left_out),
        )

    def _missing(self, scored: ScoredMonth, present: set[str]) -> bool:
        return any(self._name(scored, kind) not in present for kind in kinds_of(scored))

    def _make(self, planned: ScoredMonth) -> None:
        # Read again with the rows: since the plan was made a run may have scored the month anew.
        with _database(self.home) as con:
            scored = next((s for s in _read_months(con) if s.month == planned.month), None)
            if scored is None:
                return
            samples = {kind: self._sample(con, scored, kind) for kind in kinds_of(scored)}
        for kind, current in samples.items():
            if not (self._snapshots / self._name(scored, kind)).exists():
                self._make_one(scored, kind, current)

    def _sample(self, con: duckdb.DuckDBPyConnection, scored: ScoredMonth, kind: Kind) -> pl.DataFrame:
        known_only = kind == "classification"
        month, rows, seed = Month.parse(scored.month), self.sampling.rows, self.sampling.seed
        return sample(con, month, rows=rows, seed=seed, known_only=known_only)

    def _make_one(self, scored: ScoredMonth, kind: Kind, current: pl.DataFrame) -> None:
        name = f"{scored.month} {kind}"
        built = self._built(scored, kind, current)
        if isinstance(built, str):
            self.left_out.append(f"{name}: {built}")
            return
        self._write(self._snapshots / self._name(scored, kind), built.dumps())
        self.made.append(name)

    def _built(self, scored: ScoredMonth, kind: Kind, current: pl.DataFrame) -> "Snapshot | str":
        """The snapshot, or in words why there is none."""
        if kind == "classification" and (reason := one_class(current)):
            return reason
        reference = self.reference_of(self.home, scored.model, scored.version, scored.manifest_sha256)
        if reference.height > self.sampling.rows:
            reference = reference.sample(self.sampling.rows, seed=self.sampling.seed)
        facts = _Facts(scored, kind, current.height, reference.height, self._digest(scored, kind))
        try:
            build = _drift if kind == "drift" else _classification
            return build(facts, current, reference)
        except Exception as error:
            # A month that Evidently cannot take must not hide all others.
            _LOG.exception("Evidently could not make the %s snapshot of %s", kind, scored.month)
            return f"Evidently could not compute it ({type(error).__name__}: {error})"

    # ── Files ──

    def _digest(self, scored: ScoredMonth, kind: Kind) -> str:
        """SHA-256 over all that a snapshot is made of; drift knows no outcomes."""
        made_from = scored if kind == "classification" else replace(scored, outcomes_run=None)
        parts = [str(self.project), kind, asdict(self.sampling), asdict(made_from)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _name(self, scored: ScoredMonth, kind: Kind) -> str:
        """The snapshot's file, named by its ID."""
        return f"{uuid5(self.project, self._digest(scored, kind))}.json"

    @property
    def _folder(self) -> Path:
        return workspace_folder(self.home) / str(self.project)

    @property
    def _snapshots(self) -> Path:
        return self._folder / "snapshots"

    def _present(self) -> set[str]:
        return {path.name for path in self._snapshots.glob("*.json")}

    def _write(self, path: Path, text: str) -> None:
        """All of the file or nothing of it: that it is there says that it is whole.

        Begun outside of the workspace: a page that is being served is told of files that appear in it.
        """
        fresh = self.home.root / ".evidently.new"
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)

    def _write_project(self) -> None:
        """The project and its dashboard; those of another version are removed with their snapshots."""
        self._snapshots.mkdir(parents=True, exist_ok=True)
        for other in workspace_folder(self.home).iterdir():
            if (other / "snapshots").is_dir() and other != self._folder:
                shutil.rmtree(other)
        names = ("dashboard.json", "metadata.json")
        if not all((self._folder / name).exists() for name in names):
            for name, content in zip(names, _project_files(self.project), strict=True):
                self._write(self._folder / name, content)


def kinds_of(scored: ScoredMonth) -> tuple[Kind, ...]:
    """The snapshots that a month can have."""
    return KINDS if scored.outcomes_run else ("drift",)


@cache
def project_id() -> UUID:
    """That of the one project: another for each version of Evidently and of this module.

    So nothing that an earlier version made is taken for this one's.
    """
    made_by = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    parts = (PROJECT, version_of("evidently"), made_by, NUMERICAL_TEST, CATEGORICAL_TEST, str(PD_CUT))
    return uuid5(NAMESPACE_URL, "|".join(parts))


# ── The database ────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _database(home: Home) -> Iterator[duckdb.DuckDBPyConnection]:
    if not home.warehouse.is_file():
        # Looking leaves an empty home empty.
        raise _nothing_scored(home, None)
    with readable(home) as con:
        yield con


def _scored_months(home: Home) -> list[ScoredMonth]:
    with _database(home) as con:
        return _read_months(con)


def _read_months(con: duckdb.DuckDBPyConnection) -> list[ScoredMonth]:
    return [ScoredMonth(**row) for row in frame(con, "ui_months").to_dicts()]


def _nothing_scored(home: Home, months: Sequence[Month] | None) -> CreditflowError:
    span = f" from {min(months)} to {max(months)}" if months else ""
    return HomeUnusable(
        str(home.root),
        expected=f"a scored month{span}",
        found="none",
        remedy="See creditflow status, and run a month first: creditflow run MONTH, or creditflow demo.",
    )


@contextmanager
def _only_one(home: Home, wait_seconds: float) -> Iterator[None]:
    workspace_folder(home).mkdir(exist_ok=True)
    lock = FileLock(home.root / ".evidently.lock", timeout=wait_seconds)
    try:
        lock.acquire()
    except Timeout as error:
        raise HomeLocked(
            str(workspace_folder(home)),
            expected="no other creditflow ui at work on the workspace",
            found="one that still is",
            remedy="Wait until it says that it serves, then try again.",
        ) from error
    try:
        yield
    finally:
        lock.release()


# ── The snapshots ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Facts:
    """What a snapshot is called, and what is written beside it."""

    scored: ScoredMonth
    kind: Kind
    current_rows: int
    reference_rows: int
    made_from: str

    @property
    def metadata(self) -> dict[str, str]:
        scored = self.scored
        facts = {
            "month": scored.month,
            "model": scored.model,
            "version": scored.version,
            "run_id": scored.scores_run,
            "scored_clients": f"{scored.scored}",
            "sampled_clients": f"{self.current_rows}",
            "reference_clients": f"{self.reference_rows}",
            "made_from": self.made_from,
        }
        if self.kind == "classification":
            facts["outcomes_run_id"] = str(scored.outcomes_run)
        return facts

    @property
    def timestamp(self) -> datetime:
        """The month's first day, UTC. Without a zone: browsers in the west would show the month before."""
        month = Month.parse(self.scored.month)
        return datetime(month.year, month.number, 1)

    def run(self, metrics: list[object], current: "Dataset", reference: "Dataset | None") -> "Snapshot":
        from evidently import Report

        return Report(metrics).run(
            current,
            reference,
            timestamp=self.timestamp,
            metadata=self.metadata,
            tags=[self.kind, self.scored.month, self.scored.model],
            name=f"{self.scored.month} {self.kind}",
        )


def _drift(facts: _Facts, current: pl.DataFrame, reference: pl.DataFrame) -> "Snapshot | str":
    columns, _ = comparable(current, reference)
    if not columns:
        return "every column is empty or absent on one side"
    preset, now, then = drift_parts(columns, current, reference)
    from evidently.metrics import RowCount

    return facts.run([RowCount(), preset], now, then)


def _classification(facts: _Facts, current: pl.DataFrame, reference: pl.DataFrame) -> "Snapshot | str":
    silence()
    from evidently.metrics import CategoryCount, MeanValue, RowCount
    from evidently.presets import ClassificationPreset

    means = [MeanValue(column=name) for name in ("pd", SQUARED_ERROR)]
    rate = CategoryCount(column=OUTCOME, category=1)
    # A sample of one class cannot be shown beside; the month's own figures do not need it.
    beside = None if one_class(reference) else _with_outcomes(reference)
    preset = ClassificationPreset(probas_threshold=PD_CUT)
    return facts.run([RowCount(), preset, rate, *means], _with_outcomes(current), beside)


def _with_outcomes(side: pl.DataFrame) -> "Dataset":
    """PD, outcome and the squared error between them, of clients whose outcome is known."""
    from evidently import BinaryClassification, DataDefinition, Dataset

    known = side.select("pd", OUTCOME).drop_nulls()
    known = known.with_columns(((pl.col("pd") - pl.col(OUTCOME)) ** 2).alias(SQUARED_ERROR))
    task = BinaryClassification(target=OUTCOME, prediction_probas="pd", pos_label=1)
    definition = DataDefinition(
        classification=[task], numerical_columns=["pd", SQUARED_ERROR], categorical_columns=[OUTCOME]
    )
    return Dataset.from_pandas(known.to_pandas(), definition)


# ── The project and its dashboard ───────────────────────────────────────────────────────────────

_ABOUT: Final = (
    "Every scored month against the sample that its champion was developed on; a point stands on the first "
    "day of its month. Evidently computes on a seeded sample of a month's clients, the report pack on all of "
    "them, and its PSI on the reference's deciles: where the two differ, the pack counts."
)
_DRIFTED: Final = (
    "Share of attributes and PD at a distance of 0.1 or more from the reference "
    f"(codes: {CATEGORICAL_TEST}, others: {NUMERICAL_TEST})"
)
_COUNTED: Final = "Sampled; the number scored is in each report's metadata"
_BRIER: Final = "Mean squared difference between PD and outcome; lower is better"


def _project_files(project: UUID) -> tuple[str, str]:
    """JSON of the dashboard and of the project."""
    silence()
    from evidently.legacy.utils import NumpyEncoder
    from evidently.sdk.models import DashboardModel, DashboardTabModel, ProjectModel

    panels = _panels()
    for place, panel in enumerate(panels):
        panel.id = uuid5(project, f"panel {place}")
    tab = DashboardTabModel(id=uuid5(project, "tab"), title="Months", panels=[panel.id for panel in panels])
    described = ProjectModel(id=project, name=PROJECT, description="Drift and classification, by month.")
    dashboard, about = (
        json.dumps(part.dict(), cls=NumpyEncoder, indent=2)
        for part in (DashboardModel(tabs=[tab], panels=panels), described)
    )
    return dashboard, about


def _panels() -> "list[DashboardPanelPlot]":
    from evidently.sdk.panels import bar_plot_panel, counter_panel, line_plot_panel, text_panel

    return [
        text_panel("creditflow", _ABOUT),
        counter_panel("Drifted columns, newest month", [_share("share of columns")], size="half"),
        counter_panel("ROC AUC, newest month with outcomes", [_classified("RocAuc", "ROC AUC")], size="half"),
        line_plot_panel(
            "Drifted columns",
            [_share("share of columns")],
            _DRIFTED,
            size="half",
        ),
        line_plot_panel(
            "Drift of the PD",
            [_drifted("ValueDrift", "PD", column="pd")],
            f"Distance to the reference sample ({NUMERICAL_TEST}); drifts from 0.1",
            size="half",
        ),
        line_plot_panel(
            "ROC AUC, precision and recall",
            [
                _classified("RocAuc", "ROC AUC"),
                _classified("Precision", "precision"),
                _classified("Recall", "recall"),
            ],
            f"Known outcomes; precision and recall from a PD of {PD_CUT:g}",
            size="half",
        ),
        line_plot_panel(
            "Brier score",
            [_classified("MeanValue", "Brier score", column=SQUARED_ERROR)],
            _BRIER,
            size="half",
        ),
        line_plot_panel(
            "Mean PD and default rate",
            [
                _classified("MeanValue", "mean PD", column="pd"),
                _classified("CategoryCount", "default rate", column=OUTCOME, value_type="share"),
            ],
            "Clients whose outcome is known",
        ),
        bar_plot_panel(
            "Clients of the drift report", [_drifted("RowCount", "clients")], _COUNTED, size="half"
        ),
        bar_plot_panel(
            "Clients of the classification report",
            [_classified("RowCount", "clients")],
            "Those of known outcome; sampled likewise",
            size="half",
        ),
    ]


def _share(legend: str) -> "PanelMetric":
    return _drifted("DriftedColumnsCount", legend, value_type="share")


def _drifted(metric: str, legend: str, **labels: str) -> "PanelMetric":
    return _metric("drift", metric, legend, labels)


def _classified(metric: str, legend: str, **labels: str) -> "PanelMetric":
    return _metric("classification", metric, legend, labels)


def _metric(kind: Kind, metric: str, legend: str, labels: dict[str, str]) -> "PanelMetric":
    from evidently.sdk.models import PanelMetric

    return PanelMetric(legend=legend, tags=[kind], metric=metric, metric_labels=labels)
