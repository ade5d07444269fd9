"""The page of the one-class VAE: how it was trained, its latent space, and whom and what it finds strange.

Distributions are over seeded samples of the month and of the reference sample, at most `SAMPLE_ROWS` a side;
the strangest clients are those of the whole month, by the score that is stored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from creditflow.errors import ArtifactError
from sql.library import query
from tasks.reports import charts
from tasks.reports.gather import MonthFacts, records
from tasks.reports.reasons import column_meaning

if TYPE_CHECKING:
    from models.anomaly import VAEAnomalyDetector
    from models.develop import DevelopedModel

DETECTOR = "vae_anomaly"
SAMPLE_ROWS = 10_000
PLOTTED_ROWS = 1_000  # a side of the scatter: more would only cover each other
STRANGEST, DEFORMED = 20, 10
# A latent dimension whose mean hardly varies from client to client carries nothing: Burda, Grosse &
# Salakhutdinov (2016), "Importance weighted autoencoders", ICLR, section 5.2.
ACTIVE = 0.01
HIGH = 0.95  # the quantile of the reference above which a client is told as hard to rebuild
_TOLD = (
    "latent_dim",
    "hidden_layers",
    "hidden_units",
    "decoder_units",
    "epochs",
    "batch_size",
    "learning_rate",
    "beta",
    "criterion",
    "likelihood",
)

Floats = NDArray[np.float64]

# --- Facts ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deformed:
    """Median size of a column's deformation, in standard deviations of training, on both sides."""

    name: str
    meaning: str
    reference: float
    month: float


@dataclass(frozen=True)
class Strange:
    """One of the strangest clients; `columns` are its most deformed ones with their signed size."""

    client_id: str
    strangeness: float
    pd: float | None
    grade: str | None
    flagged: bool | None
    defaulted: int | None
    columns: list[tuple[str, float]]


@dataclass(frozen=True)
class Errors:
    """Reconstruction errors; `above…` are the shares beyond the 95 % quantile of the reference."""

    reference: Floats
    month: Floats
    psi: float | None
    psi_reason: str | None

    @property
    def quantile(self) -> float:
        return float(np.quantile(self.reference, HIGH))

    @property
    def month_quantile(self) -> float:
        return float(np.quantile(self.month, HIGH))

    @property
    def above(self) -> float:
        return float((self.month > self.quantile).mean())

    @property
    def above_reference(self) -> float:
        # Not five per cent where errors are tied.
        return float((self.reference > self.quantile).mean())


@dataclass(frozen=True)
class Latent:
    """Latent means, projected on the reference's two main axes, and what each dimension carries.

    Args:
        reference, month: (n, 2) projections.
        explained: shares of the reference's variance on the two axes.
        activity: (d,) variance of each dimension's mean over the month's clients.
    """

    reference: Floats
    month: Floats
    explained: tuple[float, ...]
    activity: tuple[float, ...]

    @property
    def active(self) -> int | None:
        """None for fewer than two clients, whose codes cannot vary."""
        if len(self.month) < 2:
            return None
        return sum(variance > ACTIVE for variance in self.activity)


@dataclass(frozen=True)
class VaeFacts:
    """What the page tells of the month's one-class VAE.

    Args:
        settings: those of the estimator that are told, by name.
        fit_rows: client-months it was fitted on, of which it took the non-defaulters.
        modelled, scored: columns that it rebuilds, and those that its score is taken over.
        loss: mean of each epoch.
        rows, reference_rows: clients of the two samples.
    """

    version: str
    settings: dict[str, Any]
    fit_rows: int
    modelled: int
    scored: int
    loss: tuple[float, ...]
    first_batch_loss: float
    latent: Latent
    errors: Errors
    deformed: list[Deformed]
    strangest: list[Strange]
    rows: int
    reference_rows: int


@dataclass(frozen=True)
class _Registered:
    version: str
    manifest_sha256: str
    training_months: list[str]
    training_rows: int


def gather_vae(
    con: duckdb.DuckDBPyConnection,
    facts: MonthFacts,
    root: Path | None,
    seed: int,
    sample_rows: int = SAMPLE_ROWS,
) -> VaeFacts | str:
    """The facts, or in words why there are none: no such model, or an artifact that cannot be read.

    Args:
        root: the home, whose artifacts hold the model.
        seed: chooses the samples.
        sample_rows: at most so many clients a side.
    """
    if facts.champion is None:
        return "awaiting a first model"
    found = next(iter(records(con, "report_vae_model", _Registered, month=facts.month)), None)
    if found is None:
        return "the set that scored this month has no one-class VAE"
    if root is None:
        return "the artifacts were not at hand when this page was made"
    from models.artifacts import load

    try:
        developed = load(root / "artifacts" / found.version / DETECTOR, found.manifest_sha256)
    except ArtifactError as error:
        return f"the one-class VAE of set {found.version} cannot be read ({error.found})"
    chosen = {"month": facts.month, "limit": sample_rows, "seed": str(seed)}
    month = con.sql(query("report_vae_sample"), params=chosen).pl()
    if month.is_empty():
        return "no client of this month was scored"
    strangest = con.sql(query("report_vae_strangest"), params={"month": facts.month, "limit": STRANGEST}).pl()
    return _facts(found.version, developed, _drawn(developed.reference, sample_rows, seed), month, strangest)


def _drawn(reference: pl.DataFrame, rows: int, seed: int) -> pl.DataFrame:
    """At most `rows` of the reference, shuffled: it is stored by client, and its head would be no sample."""
    return reference.sample(min(rows, reference.height), seed=seed, shuffle=True)


def _facts(
    version: str,
    developed: "DevelopedModel",
    reference_sample: pl.DataFrame,
    month_sample: pl.DataFrame,
    strangest: pl.DataFrame,
) -> VaeFacts:
    detector: VAEAnomalyDetector = developed.estimator
    reference, month = (developed.features.matrix(side) for side in (reference_sample, month_sample))
    columns = [developed.features.names[position] for position in detector.deformation_columns_]
    return VaeFacts(
        version=version,
        settings={name: getattr(detector, name) for name in _TOLD},
        fit_rows=developed.facts.fit_rows,
        modelled=len(columns),
        scored=len(columns) if detector.scored_columns is None else len(detector.scored_columns),
        loss=tuple(map(float, detector.loss_history_)),
        first_batch_loss=float(detector.first_batch_loss_),
        latent=latent(detector.transform(reference), detector.transform(month)),
        errors=errors(detector.reconstruction_error(reference), detector.reconstruction_error(month)),
        deformed=deformed(columns, detector.deformation(reference), detector.deformation(month)),
        strangest=_strangest(strangest, columns, developed),
        rows=len(month),
        reference_rows=len(reference),
    )


def latent(reference: Floats, month: Floats) -> Latent:
    """Principal axes of the reference's latent means, both sides projected on the first two."""
    centre = reference.mean(axis=0)
    _, sizes, axes = np.linalg.svd(reference - centre, full_matrices=False)
    # A sign is arbitrary: the largest weight of each axis is made positive, so that months look alike.
    axes = axes[:2] * np.sign(axes[:2][np.arange(len(axes[:2])), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    total = float((sizes**2).sum())
    shares = tuple(float(size**2 / total) if total else 0.0 for size in sizes[:2])
    activity = tuple(map(float, month.var(axis=0)))
    return Latent((reference - centre) @ axes.T, (month - centre) @ axes.T, shares, activity)


def errors(reference: Floats, month: Floats) -> Errors:
    """Both sides' errors with the index of the month's on the reference's deciles."""
    from models.stability import psi, reference_bins

    found = psi(reference_bins(reference, "amount"), month)
    return Errors(reference, month, found.value, found.reason)


def deformed(columns: Sequence[str], reference: Floats, month: Floats) -> list[Deformed]:
    """The columns whose median deformation is largest in the month, at most `DEFORMED`."""
    before, now = (np.median(np.abs(side), axis=0) for side in (reference, month))
    order = np.lexsort((np.arange(len(columns)), -now))[:DEFORMED]
    return [Deformed(columns[i], column_meaning(columns[i]), float(before[i]), float(now[i])) for i in order]


def _strangest(clients: pl.DataFrame, columns: Sequence[str], developed: "DevelopedModel") -> list[Strange]:
    if clients.is_empty():
        return []
    deformation = developed.estimator.deformation(developed.features.matrix(clients))
    rows = clients.select("client_id", "strangeness", "pd", "grade", "flagged", "defaulted").to_dicts()
    return [Strange(**row, columns=_most(columns, d)) for row, d in zip(rows, deformation, strict=True)]


def _most(columns: Sequence[str], sizes: Floats) -> list[tuple[str, float]]:
    order = np.argsort(-np.abs(sizes), kind="stable")[:3]
    return [(columns[i], float(sizes[i])) for i in order]


# --- Page -----------------------------------------------------------------------------------------


def vae_page(facts: MonthFacts, found: VaeFacts | str) -> str:
    """The page `vae.html`; `found` in words where there is nothing to tell."""
    from tasks.reports.pages import render

    known = None if isinstance(found, str) else found
    return render(
        "vae.html.j2",
        sections={
            "training": "Training",
            "latent": "Latent space",
            "errors": "Reconstruction error against reference",
            "deformed": "Most deformed columns",
            "strangest": "The strangest clients",
        },
        facts=facts,
        found=known,
        why=f"Not available: {found}." if isinstance(found, str) else None,
        active=ACTIVE,
        most=STRANGEST,
        plotted=PLOTTED_ROWS,
        meaning=column_meaning,
        **_charts(known),
    )


def _charts(found: VaeFacts | None) -> Mapping[str, Any]:
    if found is None:
        return dict.fromkeys(("loss_chart", "latent_chart", "activity_chart", "errors_chart"))
    reference, month = (side[:PLOTTED_ROWS] for side in (found.latent.reference, found.latent.month))
    return {
        "loss_chart": charts.loss_curve(found.loss),
        "latent_chart": charts.latent_scatter(reference, month, found.latent.explained),
        "activity_chart": charts.activity_bars(found.latent.activity, ACTIVE),
        "errors_chart": charts.error_histogram(found.errors.reference, found.errors.month),
    }
