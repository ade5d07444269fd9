"""Develops the model set: split, fit, calibrate, evaluate, and freeze the reference.

The rows are split three ways by client: 60 % to fit, 20 % to calibrate, 20 % held out. Every row of a client
lies in one part, because the months of one client overlap (this month's `pay_1` is next month's
`pay_2`) and a client on both sides would leak. The parts depend on the seed and on the content alone:
rows are ordered by month, client and content before anything is drawn. Nothing is fitted again
afterwards, so the model that scores clients is the one whose figures are shown.

A model's calibrator is chosen on cross-fitted predictions of the calibration rows (`models.calibration`), and
its cut-off follows from the costs of the two errors (`models.cost`). A blend is made of models of the same
set and is not fitted again.

Calibration rows and held-out rows together are the *reference*: what the model has not been fitted on
and scores as it will score a new month. Score deciles and the reference sample come from them;
attribute bins come from all rows.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from creditflow.columns import ATTRIBUTE_NAMES, CLIENT_ID, OUTCOME
from creditflow.errors import TrainingRefused
from models.blend import BlendClassifier
from models.calibration import CalibratorChoice, choose_calibrator
from models.cost import Costs, CutOff, theoretical_cut_off
from models.features import FeatureSet, Policy, attribute_matrix
from models.metrics import Metric, classification_metrics
from models.registry import MODELS, ModelSpec
from models.scoring import SetScorer
from models.stability import ReferenceBins, attribute_bins, reference_bins

MONTH = "month"
SCORE = "score"
FIT_SHARE, CALIBRATION_SHARE, HELD_OUT_SHARE = 0.6, 0.2, 0.2
TRAINING_ROWS_MIN = 200
# Of each class, counted in clients: at 50 the smallest part still holds ten of each, and fewer defaulters
# support no model that anyone should rely on.
CLASS_CLIENTS_MIN = 50
REFERENCE_ROWS_MAX = 50_000
CHUNK_ROWS = 65_536

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
    attributes: Policy
    features: tuple[str, ...]


@dataclass(frozen=True)
class DevelopedModel:
    """A fitted, calibrated model with everything that monitoring holds it against.

    Args:
        name: its key in `models.registry.MODELS`.
        estimator: fitted, on the feature matrix; a blend holds the estimators of its members.
        calibration: the calibrator that turns its raw score into a PD, and how it was chosen.
        cut_off: the PD from which a client is flagged, and what that costs.
        held_out: metrics on the held-out rows.
        bins: frozen bins of each attribute and of the raw score (key `score`).
        reference: at most 50,000 seeded rows: the 23 attributes, score, pd and defaulted.
        facts: rows, seed and features.
        fit_seconds: wall time of the fit, of a blend that of its members; None for a model loaded from an
            artifact, which keeps no times.
    """

    name: str
    estimator: Any
    calibration: CalibratorChoice
    cut_off: CutOff
    held_out: dict[str, Metric]
    bins: dict[str, ReferenceBins]
    reference: pl.DataFrame
    facts: TrainingFacts
    fit_seconds: float | None = None

    @property
    def spec(self) -> ModelSpec:
        """The registry's entry."""
        return MODELS[self.name]

    @property
    def features(self) -> FeatureSet:
        """What the model takes."""
        return FeatureSet(self.facts.attributes)

    def score(self, frame: pl.DataFrame, chunk_rows: int = CHUNK_ROWS) -> pl.DataFrame:
        """Score clients; see `score_models`.

        Returns:
            (n,) rows in the order of `frame`: score (raw, higher = riskier) and pd (calibrated), Float64.
        """
        return score_models({self.name: self}, frame, chunk_rows)[self.name]


class ClientScorer:
    """Models of one set by name, prepared once to score any number of frames.

    Features are computed once for all models, and a blend takes the scores of its members where they are
    among the models.
    """

    def __init__(self, models: Mapping[str, DevelopedModel]) -> None:
        """`models` are all of the same feature set."""
        self._features = next(iter(models.values())).features
        self._calibrators = {name: model.calibration.calibrator for name, model in models.items()}
        self._scorer = SetScorer({name: model.estimator for name, model in models.items()})

    def __call__(self, frame: pl.DataFrame) -> dict[str, pl.DataFrame]:
        """Score clients, all held in memory as a feature matrix: pass parts of a large frame.

        Args:
            frame: (n,) clients with the attributes that the features are made from, other columns ignored.

        Returns:
            For each model (n,) rows in the order of `frame`: score (raw, higher is riskier), pd (calibrated)

        Raises:
            HeaderRefused, ContentRefused: the frame is refused as in `FeatureSet.matrix`.
            TrainingDiverged: a score is not finite.
        """
        scores = self._scorer(self._features.matrix(frame))
        return {
            name: pl.DataFrame({SCORE: score, "pd": self._calibrators[name].predict(score)})
            for name, score in scores.items()
        }


def score_models(
    models: Mapping[str, DevelopedModel], frame: pl.DataFrame, chunk_rows: int = CHUNK_ROWS
) -> dict[str, pl.DataFrame]:
    """Score clients once by several models of one set, as `ClientScorer`, `chunk_rows` at a time."""
    scorer = ClientScorer(models)
    chunks = [scorer(part) for part in _chunks(frame, chunk_rows)] or [scorer(frame)]
    return {name: pl.concat([chunk[name] for chunk in chunks]) for name in models}


def _chunks(frame: pl.DataFrame, rows: int) -> Iterator[pl.DataFrame]:
    return (frame.slice(start, rows) for start in range(0, frame.height, rows))


# --- development -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """The three parts of the development rows, each in the order of the content."""

    fit: pl.DataFrame
    calibration: pl.DataFrame
    held_out: pl.DataFrame


def develop(
    frame: pl.DataFrame,
    *,
    seed: int,
    attributes: Policy = "unprotected",
    costs: Costs | None = None,
    names: Sequence[str] = tuple(MODELS),
    training_rows_min: int = TRAINING_ROWS_MIN,
) -> list[DevelopedModel]:
    """Develop the named models on one split of the same rows.

    Models are fitted one after the other: two processes on two cores would halve the time of the longest
    fit at best, and cost each a second import of the libraries.

    Args:
        frame: client_id, the 23 attributes, defaulted (0 or 1), and month where there are several.
        seed: of the split, of every fit and of the reference sample.
        attributes: the policy; by default the models know neither sex nor marriage nor age.
        costs: of a missed default and a refused good client; by default 5 to 1.
        names: keys of the registry, in the order wanted.
        training_rows_min: fewer rows are refused.

    Raises:
        TrainingRefused: too few rows or clients of a class, a missing column or outcome, an unknown name.
        ContentRefused: an attribute has a missing or infinite value.
        TrainingDiverged: a model's loss or score is not a number.
    """
    check_names(names)
    check_training_rows(frame, training_rows_min)
    attribute_matrix(frame)  # refuses a gap in any row before minutes go into fits
    development = _Development.of(frame, seed, FeatureSet(attributes), costs or Costs())
    fitted = _fit(names, development)
    scores = development.score({name: estimator for name, (estimator, _) in fitted.items()})
    return [_developed(name, *fitted[name], scores[name], development) for name in names]


@dataclass(frozen=True)
class _Development:
    """What all models of a set share: the parts, their matrices and outcomes, and the frozen reference."""

    facts: TrainingFacts
    costs: Costs
    fit: tuple[np.ndarray, np.ndarray]
    calibration: tuple[np.ndarray, np.ndarray]
    held_out: tuple[np.ndarray, np.ndarray]
    bins: dict[str, ReferenceBins]
    sample: pl.DataFrame
    sampled: NDArray[np.int64]

    @classmethod
    def of(cls, frame: pl.DataFrame, seed: int, features: FeatureSet, costs: Costs) -> Self:
        parts = split(frame, seed)
        reference = pl.concat([parts.calibration, parts.held_out])
        sampled = sample_positions(reference.height, seed)
        fit, calibration, held_out = (
            (features.matrix(part), part[OUTCOME].to_numpy())
            for part in (parts.fit, parts.calibration, parts.held_out)
        )
        return cls(
            _facts(frame, parts, seed, features),
            costs,
            fit,
            calibration,
            held_out,
            attribute_bins(frame),
            reference[sampled].select(*ATTRIBUTE_NAMES, OUTCOME),
            sampled,
        )

    def score(self, estimators: Mapping[str, Any]) -> dict[str, tuple[Floats, Floats]]:
        """Raw scores of the calibration rows and of the held-out rows, by model."""
        scorer = SetScorer(estimators)
        calibration, held_out = (scorer(part[0]) for part in (self.calibration, self.held_out))
        return {name: (calibration[name], held_out[name]) for name in estimators}


def _fit(names: Sequence[str], development: _Development) -> dict[str, tuple[Any, float]]:
    """Fitted estimators and seconds by name; a blend is put together from members that are fitted anyway."""
    fitted: dict[str, tuple[Any, float]] = {}
    features, seed = FeatureSet(development.facts.attributes), development.facts.seed
    for name in sorted(names, key=list(MODELS).index):
        spec, started = MODELS[name], time.perf_counter()
        members = {member: fitted[member] for member in spec.members if member in fitted}
        if members and len(members) == len(spec.members):
            estimators = {member: estimator for member, (estimator, _) in members.items()}
            fitted[name] = BlendClassifier.from_fitted(estimators), sum(s for _, s in members.values())
        else:
            estimator = spec.build(seed, features).fit(*development.fit)
            fitted[name] = estimator, time.perf_counter() - started
    return fitted


def _developed(
    name: str, estimator: Any, seconds: float, scores: tuple[Floats, Floats], development: _Development
) -> DevelopedModel:
    calibration, held_out = scores
    outcomes = development.calibration[1]
    choice = choose_calibrator(calibration, outcomes, kind=MODELS[name].kind, seed=development.facts.seed)
    score = np.concatenate([calibration, held_out])
    predict = choice.calibrator.predict
    return DevelopedModel(
        name=name,
        estimator=estimator,
        calibration=choice,
        cut_off=theoretical_cut_off(outcomes, predict(calibration), development.costs),
        held_out=classification_metrics(development.held_out[1], predict(held_out)),
        bins=development.bins | {SCORE: reference_bins(score, "amount")},
        reference=_scored(development, score[development.sampled], predict),
        facts=development.facts,
        fit_seconds=seconds,
    )


def _scored(development: _Development, score: Floats, predict: Callable[[Floats], Floats]) -> pl.DataFrame:
    columns = [pl.Series(SCORE, score), pl.Series("pd", predict(score))]
    return development.sample.select(*ATTRIBUTE_NAMES, *columns, OUTCOME)


def split(frame: pl.DataFrame, seed: int) -> Parts:
    """Three parts by client, stratified by whether the client ever defaulted.

    Neither the order of the rows nor that of the columns matters.
    """
    ordered = in_content_order(frame)
    clients = _clients_of(ordered)
    others, held_out = _draw(clients, HELD_OUT_SHARE, seed)
    fit, calibration = _draw(others, CALIBRATION_SHARE / (1 - HELD_OUT_SHARE), seed)
    return Parts(*(_rows_of(ordered, chosen) for chosen in (fit, calibration, held_out)))


def _draw(clients: pl.DataFrame, share: float, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    rest, drawn = train_test_split(
        np.arange(clients.height), test_size=share, random_state=seed, stratify=clients[OUTCOME].to_numpy()
    )
    return clients[np.sort(rest)], clients[np.sort(drawn)]


def halved(ordered: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The rows of half of the clients, drawn like the parts, in the order given."""
    return _rows_of(ordered, _draw(_clients_of(ordered), 0.5, seed)[0])


def _clients_of(ordered: pl.DataFrame) -> pl.DataFrame:
    """Clients, and whether they ever defaulted."""
    return ordered.group_by(CLIENT_ID).agg(pl.col(OUTCOME).max()).sort(CLIENT_ID)


def _rows_of(ordered: pl.DataFrame, clients: pl.DataFrame) -> pl.DataFrame:
    return ordered.join(clients.select(CLIENT_ID), on=CLIENT_ID, how="semi", maintain_order="left")


def sample_positions(rows: int, seed: int, most: int = REFERENCE_ROWS_MAX) -> NDArray[np.int64]:
    """Positions of at most `most` of `rows` rows, drawn without replacement, rising."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, size=most, replace=False))


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


def _facts(frame: pl.DataFrame, parts: Parts, seed: int, features: FeatureSet) -> TrainingFacts:
    return TrainingFacts(
        rows=frame.height,
        defaulters=int(frame[OUTCOME].sum()),
        clients=frame[CLIENT_ID].n_unique(),
        fit_rows=parts.fit.height,
        calibration_rows=parts.calibration.height,
        held_out_rows=parts.held_out.height,
        held_out_defaulters=int(parts.held_out[OUTCOME].sum()),
        seed=seed,
        attributes=features.policy,
        features=features.names,
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
