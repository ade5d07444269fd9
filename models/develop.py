"""Develops the model set: split, fit, calibrate, evaluate, and freeze the reference.

The rows are split three ways by client: 60 % to fit, 20 % to calibrate, 20 % held out. Every row of a client
lies in one part, because the months of one client overlap (this month's `pay_1` is next month's
`pay_2`) and a client on both sides would leak. The parts depend on the seed and on the content alone:
rows are ordered by month, client and content before anything is drawn. Nothing is fitted again
afterwards, so the model that scores clients is the one whose figures are shown.

Calibration rows and held-out rows together are the *reference*: what the model has not been fitted on
and scores as it will score a new month. Score deciles and the reference sample come from them;
attribute bins come from all rows.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from creditflow.columns import ATTRIBUTE_NAMES, CLIENT_ID, OUTCOME
from creditflow.errors import TrainingDiverged, TrainingRefused
from models.calibration import PlattCalibrator
from models.features import design_matrix
from models.metrics import Metric, classification_metrics
from models.registry import MODELS, ModelSpec, raw_score
from models.stability import ReferenceBins, attribute_bins, reference_bins

MONTH = "month"
SCORE = "score"
FIT_SHARE, CALIBRATION_SHARE, HELD_OUT_SHARE = 0.6, 0.2, 0.2
TRAINING_ROWS_MIN = 200
# Of each class, counted in clients: at 20 the smallest part still holds four of each.
CLASS_CLIENTS_MIN = 20
REFERENCE_ROWS_MAX = 50_000
CHUNK_ROWS = 65_536
# Matrix products work in tiles of rows, and the last, partly filled tile rounds otherwise than a full one.
TILE_ROWS = 64

Floats = NDArray[np.float64]


# --- a developed model -------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingFacts:
    """What a model was developed on. Rows are client-months."""

    rows: int
    defaulters: int
    clients: int
    fit_rows: int
    calibration_rows: int
    held_out_rows: int
    held_out_defaulters: int
    seed: int
    features: tuple[str, ...] = ATTRIBUTE_NAMES


@dataclass(frozen=True)
class DevelopedModel:
    """A fitted, calibrated model with everything that monitoring holds it against.

    Args:
        name: its key in `models.registry.MODELS`.
        estimator: fitted, on the (n, 23) design matrix.
        calibrator: turns its raw score into a PD.
        held_out: metrics on the held-out rows.
        bins: frozen bins of each attribute and of the raw score (key `score`).
        reference: at most 50,000 seeded rows: the 23 attributes, score, pd and defaulted.
        facts: rows, seed and features.
        fit_seconds: wall time of the fit; None for a model loaded from an artifact, which keeps no times.
    """

    name: str
    estimator: Any
    calibrator: PlattCalibrator
    held_out: dict[str, Metric]
    bins: dict[str, ReferenceBins]
    reference: pl.DataFrame
    facts: TrainingFacts
    fit_seconds: float | None = None

    @property
    def spec(self) -> ModelSpec:
        """The registry's entry."""
        return MODELS[self.name]

    def score(self, frame: pl.DataFrame, chunk_rows: int = CHUNK_ROWS) -> pl.DataFrame:
        """Score clients, a chunk at a time, so that memory does not grow with a wide design matrix.

        Args:
            frame: (n,) clients with the 23 attributes; other columns are ignored.
            chunk_rows: rows held as a design matrix at a time.

        Returns:
            (n,) rows in the order of `frame`: score (raw, higher = riskier) and pd (calibrated), Float64.

        Raises:
            TrainingDiverged: a score is not finite.
        """
        chunks = [raw_scores(self.spec, self.estimator, part) for part in _chunks(frame, chunk_rows)]
        score = np.concatenate(chunks) if chunks else np.empty(0)
        return pl.DataFrame({SCORE: score, "pd": self.calibrator.predict(score)})


def raw_scores(spec: ModelSpec, estimator: Any, frame: pl.DataFrame) -> Floats:
    """(n,) raw scores as `models.registry.raw_score` gives them: higher = riskier.

    Rows are padded to whole tiles, so that a client's score is the same to the last digit alone and among
    a million.

    Raises:
        TrainingDiverged: a score is not finite.
    """
    matrix = design_matrix(frame)
    padding = np.repeat(matrix[-1:], -len(matrix) % TILE_ROWS, axis=0)
    padded = np.concatenate([matrix, padding]) if len(padding) else matrix
    score = np.asarray(raw_score(estimator, padded)[: len(matrix)], dtype=np.float64)
    if not np.isfinite(score).all():
        raise TrainingDiverged(
            f"model {spec.name}",
            expected="a finite score for every client",
            found=f"{int((~np.isfinite(score)).sum()):,} of {score.size:,} that are not",
            remedy="Retrain the model; if it happens again, leave it out of the settings.",
        )
    return score


def _chunks(frame: pl.DataFrame, rows: int) -> Iterator[pl.DataFrame]:
    return (frame.slice(start, rows) for start in range(0, frame.height, rows))


# --- development -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """The three parts of the development rows, each in the order of the content."""

    fit: pl.DataFrame
    calibration: pl.DataFrame
    held_out: pl.DataFrame

    @property
    def reference(self) -> pl.DataFrame:
        """The rows that no model was fitted on."""
        return pl.concat([self.calibration, self.held_out])


def develop(
    frame: pl.DataFrame,
    *,
    seed: int,
    names: Sequence[str] = tuple(MODELS),
    training_rows_min: int = TRAINING_ROWS_MIN,
) -> list[DevelopedModel]:
    """Develop the named models on one split of the same rows.

    Models are fitted one after the other: two processes on two cores would halve the time of the longest
    fit at best, and cost each a second import of the libraries.

    Args:
        frame: client_id, the 23 attributes, defaulted (0 or 1), and month where there are several.
        seed: of the split, of every fit and of the reference sample.
        names: keys of the registry, in the order wanted.
        training_rows_min: fewer rows are refused.

    Raises:
        TrainingRefused: too few rows or clients of a class, a missing column or outcome, an unknown name.
        ContentRefused: an attribute has a missing or infinite value.
        TrainingDiverged: a model's loss or score is not a number.
    """
    check_names(names)
    check_training_rows(frame, training_rows_min)
    for part in _chunks(frame, CHUNK_ROWS):
        design_matrix(part)  # refuses a gap in any row before minutes go into fits
    parts = split(frame, seed)
    facts = _facts(frame, parts, seed)
    bins = attribute_bins(frame)
    sample = reference_sample(parts.reference, seed)
    return [_develop_one(MODELS[name], parts, facts, bins, sample) for name in names]


def _develop_one(
    spec: ModelSpec,
    parts: Parts,
    facts: TrainingFacts,
    bins: dict[str, ReferenceBins],
    sample: pl.DataFrame,
) -> DevelopedModel:
    started = time.perf_counter()
    estimator = spec.build(facts.seed)
    estimator.fit(design_matrix(parts.fit), parts.fit[OUTCOME].to_numpy())
    seconds = time.perf_counter() - started
    calibration, held_out = (raw_scores(spec, estimator, p) for p in (parts.calibration, parts.held_out))
    calibrator = PlattCalibrator("logit" if spec.kind == "classifier" else "asinh")
    calibrator.fit(calibration, parts.calibration[OUTCOME].to_numpy())
    return DevelopedModel(
        name=spec.name,
        estimator=estimator,
        calibrator=calibrator,
        held_out=classification_metrics(parts.held_out[OUTCOME].to_numpy(), calibrator.predict(held_out)),
        bins=bins | {SCORE: reference_bins(np.concatenate([calibration, held_out]), "amount")},
        reference=_scored(spec, estimator, calibrator, sample),
        facts=facts,
        fit_seconds=seconds,
    )


def _scored(
    spec: ModelSpec, estimator: Any, calibrator: PlattCalibrator, sample: pl.DataFrame
) -> pl.DataFrame:
    score = raw_scores(spec, estimator, sample)
    columns = [pl.Series(SCORE, score), pl.Series("pd", calibrator.predict(score)), sample[OUTCOME]]
    return sample.select(ATTRIBUTE_NAMES).with_columns(columns)


def split(frame: pl.DataFrame, seed: int) -> Parts:
    """Three parts by client, stratified by whether the client ever defaulted.

    Neither the order of the rows nor that of the columns matters.
    """
    ordered = in_content_order(frame)
    clients = ordered.group_by(CLIENT_ID).agg(pl.col(OUTCOME).max()).sort(CLIENT_ID)
    others, held_out = _draw(clients, HELD_OUT_SHARE, seed)
    fit, calibration = _draw(others, CALIBRATION_SHARE / (1 - HELD_OUT_SHARE), seed)
    return Parts(*(_rows_of(ordered, chosen) for chosen in (fit, calibration, held_out)))


def _draw(clients: pl.DataFrame, share: float, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    rest, drawn = train_test_split(
        np.arange(clients.height), test_size=share, random_state=seed, stratify=clients[OUTCOME].to_numpy()
    )
    return clients[np.sort(rest)], clients[np.sort(drawn)]


def _rows_of(ordered: pl.DataFrame, clients: pl.DataFrame) -> pl.DataFrame:
    return ordered.join(clients.select(CLIENT_ID), on=CLIENT_ID, how="semi", maintain_order="left")


def reference_sample(frame: pl.DataFrame, seed: int, rows: int = REFERENCE_ROWS_MAX) -> pl.DataFrame:
    """At most `rows` rows drawn without replacement, in the order of `frame`."""
    if frame.height <= rows:
        return frame
    chosen = np.random.default_rng(seed).choice(frame.height, size=rows, replace=False)
    return frame[np.sort(chosen)]


def choose_champion(models: Sequence[DevelopedModel]) -> str:
    """The name with the highest held-out ROC AUC; a tie goes to the one earlier in the registry.

    Raises:
        TrainingRefused: no model has an AUC.
    """
    order = list(MODELS)
    ranked = [
        (-auc, order.index(m.name), m.name)
        for m in models
        if (auc := m.held_out["roc_auc"].value) is not None
    ]
    if not ranked:
        raise _refused("a model with a held-out ROC AUC", f"none among {len(models)} models")
    return min(ranked)[2]


# --- what a model may be trained on ------------------------------------------------------------------


def check_names(names: Sequence[str]) -> None:
    """Refuse names that the registry does not know, and an empty or repeated choice.

    Raises:
        TrainingRefused: names the first that is wrong.
    """
    if not names or len(set(names)) < len(names):
        raise _refused("at least one model, each once", ", ".join(names) or "none")
    for name in names:
        if name not in MODELS:
            raise _refused(f"models among {', '.join(MODELS)}", repr(name))


def check_training_rows(frame: pl.DataFrame, rows_min: int = TRAINING_ROWS_MIN) -> None:
    """Refuse rows that no honest model can be developed on.

    Raises:
        TrainingRefused: a column is missing, an outcome is not 0 or 1, there are too few rows, or fewer than
            20 clients of a class.
    """
    missing = [name for name in (CLIENT_ID, *ATTRIBUTE_NAMES, OUTCOME) if name not in frame.columns]
    if missing:
        raise _refused("client_id, the 23 attributes and defaulted", f"no column {', '.join(missing)}")
    unknown = frame.height - frame[OUTCOME].is_in([0, 1]).fill_null(False).sum()
    if unknown:
        raise _refused("an outcome of 0 or 1 for every row", f"{unknown:,} of {frame.height:,} without")
    if frame.height < rows_min:
        raise _refused(f"at least {rows_min:,} rows with outcomes", f"{frame.height:,}")
    ever = frame.group_by(CLIENT_ID).agg(pl.col(OUTCOME).max())[OUTCOME]
    defaulters, others = int((ever == 1).sum()), int((ever == 0).sum())
    if min(defaulters, others) < CLASS_CLIENTS_MIN:
        raise _refused(
            f"at least {CLASS_CLIENTS_MIN} clients who defaulted and {CLASS_CLIENTS_MIN} who did not",
            f"{defaulters:,} who defaulted and {others:,} who did not",
        )


def _refused(expected: str, found: str) -> TrainingRefused:
    return TrainingRefused(
        "training data",
        expected=expected,
        found=found,
        remedy="Train later, when more outcomes are known, or correct the settings.",
    )


def _facts(frame: pl.DataFrame, parts: Parts, seed: int) -> TrainingFacts:
    return TrainingFacts(
        rows=frame.height,
        defaulters=int(frame[OUTCOME].sum()),
        clients=frame[CLIENT_ID].n_unique(),
        fit_rows=parts.fit.height,
        calibration_rows=parts.calibration.height,
        held_out_rows=parts.held_out.height,
        held_out_defaulters=int(parts.held_out[OUTCOME].sum()),
        seed=seed,
    )


# --- content -----------------------------------------------------------------------------------------


def in_content_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns that count for training, in their regular order, and rows sorted by them."""
    names = [name for name in (MONTH, CLIENT_ID, *ATTRIBUTE_NAMES, OUTCOME) if name in frame.columns]
    return frame.select(names).sort(names)


def training_sha256(frame: pl.DataFrame) -> str:
    """SHA-256 of the training data; the order of rows and columns and the width of integers do not matter.

    Args:
        frame: as `develop` takes it; columns it does not use are left out.
    """
    digest = hashlib.sha256()
    for column in in_content_order(frame):
        digest.update(f"{column.name}:{len(column)}:".encode())
        for part in _canonical_bytes(column):
            digest.update(part)
    return digest.hexdigest()


def _canonical_bytes(column: pl.Series) -> Iterator[bytes]:
    yield column.is_null().to_numpy().tobytes()
    if column.dtype.is_numeric():
        # Adding zero turns -0.0 into 0.0, which compares equal and must count as equal.
        yield (column.cast(pl.Float64).fill_null(0.0).to_numpy() + 0.0).astype("<f8").tobytes()
        return
    text = column.cast(pl.String).fill_null("")
    yield text.str.len_bytes().to_numpy().astype("<u8").tobytes()
    yield "".join(text).encode()
