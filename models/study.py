"""The study: the published report's figures, recomputed on the report's own split.

`run_study` takes a labelled portfolio, splits it 70/30 (stratified, `random_state=42`, all 23 attributes,
ID dropped), fits five models and returns every figure and array that the page draws. Pure computing: it
reads and writes no file. Run it with `creditflow study FILE --out DIR`.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl
from scipy.stats import gaussian_kde, ks_2samp, spearmanr
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support, roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve
from sklearn.model_selection import StratifiedKFold, cross_val_predict, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from creditflow.columns import AMOUNT_NAMES, ATTRIBUTE_NAMES, ATTRIBUTES, CLIENT_ID, CODE_NAMES, OUTCOME
from creditflow.errors import TrainingRefused
from models.anomaly import STUDY_ANOMALY, STUDY_VAE, VAEAnomalyDetector
from models.baselines import make_study_logistic, make_study_logistic_smote
from models.features import CATEGORICAL_INDICES, attribute_matrix
from models.vae import VAEClassifier

# --- Published figures ----------------------------------------------------------------------------

SOURCE = (
    "The report that this project implements: a variational autoencoder for credit default on the UCI set "
    "“Default of Credit Card Clients” (I-Cheng Yeh, 2016, DOI 10.24432/C55S3H); 70/30 split, stratified, "
    "random_state=42, 9,000 test clients of whom 1,991 defaulted, 23 attributes without the ID."
)

# Of the canonical CSV: header of the original sheet, whole-number codes, amounts as `20000.0`, LF line ends.
PUBLISHED_SHA256 = "88bacc449fc3f84194870a0a7314f95385256cf0fc8b534c2c0789bc3035235f"
PUBLISHED_ROWS, PUBLISHED_DEFAULTERS = 30_000, 6_636
PUBLISHED_SHARES = {"paid": 0.779, "defaulted": 0.221}
PUBLISHED_TEST_ROWS, PUBLISHED_TEST_DEFAULTERS = 9_000, 1_991
PUBLISHED_RECALL = 0.62

FIGURES = ("roc_auc", "accuracy", "precision", "recall", "f1")

# Class 1 (defaulters) throughout. The report prints no ROC AUC for the classifier on the latent means, and
# has no row for the one-class VAE that its conclusion proposes.
PUBLISHED_MODELS: dict[str, dict[str, float]] = {
    "logistic": {"roc_auc": 0.7150, "accuracy": 0.81, "precision": 0.70, "recall": 0.24, "f1": 0.35},
    "logistic_smote": {"roc_auc": 0.7177, "accuracy": 0.67, "precision": 0.36, "recall": 0.64, "f1": 0.46},
    "vae_latent": {"accuracy": 0.78, "precision": 0.50, "recall": 0.00, "f1": 0.00},
    "vae_supervised": {"roc_auc": 0.7784, "accuracy": 0.76, "precision": 0.47, "recall": 0.62, "f1": 0.54},
}
PUBLISHED_FIRST_BATCH_LOSS = 1.2213
PUBLISHED_EPOCH_LOSS: dict[int, float] = {
    1: 0.9902,
    2: 0.9571,
    3: 0.9422,
    4: 0.9376,
    5: 0.9334,
    10: 0.9128,
    15: 0.9010,
    20: 0.9000,
    25: 0.8973,
    30: 0.8963,
}

# An AUC is printed to four decimals but depends on the solver's last steps; the other figures are printed
# to two decimals, so half a unit of the second is all that rounding can hide. The settings of the published
# VAE are not known: its loss can be met in size and course, not in digits.
TOLERANCES = {"roc_auc": 0.001, "printed": 0.005, "loss": 0.02}

# --- What a study holds ---------------------------------------------------------------------------

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Sample:
    """The portfolio studied: counts, split, and whether it is the published data set."""

    rows: int
    defaulters: int
    duplicates: int
    undocumented: dict[str, dict[int, int]]
    train_rows: int
    train_defaulters: int
    test_rows: int
    test_defaulters: int
    content_sha256: str

    @property
    def is_published(self) -> bool:
        return self.content_sha256 == PUBLISHED_SHA256

    @property
    def shares(self) -> dict[str, float]:
        """Share of clients in each class."""
        share = self.defaulters / self.rows
        return {"paid": 1 - share, "defaulted": share}


@dataclass(frozen=True)
class BoxFigures:
    """LIMIT_BAL of one class: quartiles, Tukey's fences, and how many clients lie beyond them."""

    clients: int
    mean: float
    minimum: float
    q1: float
    median: float
    q3: float
    maximum: float
    low_fence: float
    high_fence: float
    outliers: int
    mean_without: float
    median_without: float


@dataclass(frozen=True)
class Timeline:
    """LIMIT_BAL of every client in the order of the IDs. Arrays: (rows,).

    The two correlations are Spearman's, of the position with the limit and with the outcome. `by_id` is
    False where IDs are no whole numbers, and the position is that in the file.
    """

    position: np.ndarray
    limit: np.ndarray
    defaulted: np.ndarray
    by_id: bool
    limit_correlation: float
    default_correlation: float


@dataclass(frozen=True)
class Distribution:
    """One attribute by class: a density over a grid, or the share of each code.

    `at`, `paid`, `defaulted`: (points,). Each curve is of its own class, so that the two compare whatever
    the class sizes; `shown` is the range drawn and `outside_share` the share of clients beyond it.
    `separation` is the two-sample Kolmogorov-Smirnov distance between the classes, 0 to 1.
    """

    name: str
    kind: Literal["density", "codes"]
    at: np.ndarray
    paid: np.ndarray
    defaulted: np.ndarray
    shown: tuple[float, float]
    outside_share: float
    separation: float


@dataclass(frozen=True)
class ClassFigures:
    """Precision, recall, F1 and support of one class (0 where a ratio has no cases)."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Report:
    """A classification report at one cut: a client is called a defaulter when score ≥ `threshold`."""

    threshold: float
    rule: str
    accuracy: float
    paid: ClassFigures
    defaulted: ClassFigures
    confusion: tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Scored:
    """Test scores of one model, higher for a likelier default, with its reports.

    `scores`: (test rows,). `curve`: false- and true-positive rates, (points, 2).
    """

    name: str
    title: str
    method: str
    scores: np.ndarray
    roc_auc: float
    report: Report
    at_half: Report | None
    curve: np.ndarray


@dataclass(frozen=True)
class Loss:
    """Training loss of the plain study VAE: on its first batch before any step, then per epoch.

    A first batch is a small draw of a heavy-tailed portfolio: `other_starts` holds the same loss from other
    random starts, sorted, to say how far one such figure can be trusted.
    """

    first_batch: float
    per_epoch: tuple[float, ...]
    other_starts: tuple[float, ...]

    def covers(self, first_batch: float) -> bool:
        """Whether a first-batch loss lies within what our own random starts give."""
        seen = (self.first_batch, *self.other_starts)
        return min(seen) <= first_batch <= max(seen)


@dataclass(frozen=True)
class Latent:
    """First two principal components of the test clients' latent means.

    `points`: (test rows, 2); `defaulted`: (test rows,); `explained`: share of the latent variance per
    component, fitted on the training part, all components.
    """

    points: np.ndarray
    defaulted: np.ndarray
    explained: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """One published figure beside ours. `verdict` is "matches", "differs" or "not comparable"."""

    subject: str
    figure: str
    published: float
    ours: float
    tolerance: float
    verdict: str

    @property
    def difference(self) -> float:
        return self.ours - self.published


@dataclass(frozen=True)
class Study:
    """Everything that the page and the JSON show."""

    seed: int
    sample: Sample
    limit: dict[str, BoxFigures]
    timeline: Timeline
    distributions: tuple[Distribution, ...]
    models: dict[str, Scored]
    loss: Loss
    latent: Latent
    comparison: tuple[Comparison, ...]
    timings: dict[str, float] = field(compare=False)

    def figures(self) -> dict[str, Any]:
        """Every figure as plain JSON values: the same for the same data, seed and code."""
        return _figures(self)


# --- The estimators -------------------------------------------------------------------------------

TITLES = {
    "logistic": "Logistic regression",
    "logistic_smote": "Logistic regression + SMOTE",
    "vae_latent": "Classifier on the VAE's latent means",
    "vae_anomaly": "One-class VAE",
    "vae_supervised": "Joint model",
}
METHODS = {
    "logistic": "Standardised attributes; score is the predicted probability of default.",
    "logistic_smote": "As above, the minority class of the training part topped up to parity by SMOTE.",
    "vae_latent": (
        "Logistic regression on the latent means of a plain VAE that never saw an outcome; score is the "
        "predicted probability of default."
    ),
    "vae_anomaly": (
        "VAE trained on the training part's non-defaulters alone; score is the reconstruction error, how far "
        "the output is deformed from the input."
    ),
    "vae_supervised": (
        "Encoder, decoder and classifying head trained together; score is the predicted probability of "
        "default."
    ),
}


# One network on the study's columns, without what the monthly set adds to it.
STUDY_SUPERVISED: dict[str, Any] = {
    "ensemble_size": 1,
    "input_noise": 0.0,
    "labelled_decoder": False,
}


@dataclass(frozen=True)
class Estimators:
    """The unfitted estimators of a study; the joint model's cut comes from `folds`-fold cross-validation.

    `plain_vae` is fitted to all training clients without their outcomes; it and `vae_anomaly` offer what
    `VAEAnomalyDetector` does, the other three are scikit-learn classifiers. `starts` counts the further
    random starts whose first-batch loss is recorded.
    """

    logistic: Any
    logistic_smote: Any
    plain_vae: Any
    vae_anomaly: Any
    vae_supervised: Any
    folds: int = 5
    starts: int = 20


def study_estimators(seed: int) -> Estimators:
    """Models of the 23 attributes as they stand; the plain VAE comes near the published loss."""
    codes: dict[str, Any] = {"categorical_features": list(CATEGORICAL_INDICES), "random_state": seed}
    return Estimators(
        logistic=make_study_logistic(seed),
        logistic_smote=make_study_logistic_smote(seed),
        plain_vae=VAEAnomalyDetector(**STUDY_VAE, random_state=seed),
        vae_anomaly=VAEAnomalyDetector(**STUDY_ANOMALY, **codes),
        vae_supervised=VAEClassifier(**STUDY_SUPERVISED, **codes),
    )


# --- Running it -----------------------------------------------------------------------------------

MIN_ROWS = 100
# SMOTE looks at six neighbours within the training part's defaulters, and five folds need some each.
MIN_PER_CLASS = 20
_TEST_SHARE = 0.3
_DESCRIBE, _STARTS, _CUT = (
    "Portfolio",
    "VAE loss from other random starts",
    "Joint model, cut by cross-validation",
)
_STAGES = (_DESCRIBE, *TITLES.values(), _STARTS, _CUT)


@dataclass(frozen=True)
class Split:
    """Design matrices (n, 23) and classes (n,) of the two parts, and the test part's places."""

    X_train: np.ndarray
    X_test: np.ndarray
    y_train: np.ndarray
    y_test: np.ndarray


def run_study(
    frame: pl.DataFrame,
    seed: int = 42,
    progress: Progress | None = None,
    *,
    build: Callable[[int], Estimators] = study_estimators,
) -> Study:
    """Computes every figure of the study.

    Args:
        frame: one row a client: `client_id`, the 23 attributes, `defaulted` (0 or 1). Where every ID is a
            whole number the rows are put in that order first, so that the order of a file does not matter.
        seed: of the split and of every fit; 42 is the published one.
        progress: called as `progress(stage, done, total)` before each stage and once at the end.
        build: gives the unfitted estimators for a seed.

    Raises:
        TrainingRefused: fewer than 100 clients, or fewer than 20 of either class.
        ContentRefused: an attribute is null, NaN or infinite.
    """
    ordered, by_id = in_order(frame)
    refuse_small(ordered)
    clock = _Clock(progress)
    split = split_of(ordered, seed)
    with clock.stage(_DESCRIBE):
        sample, limit = _sample(ordered, split), _limit_figures(ordered)
        timeline, distributions = _timeline(ordered, by_id), _distributions(ordered)
    estimators = build(seed)
    models = {
        "logistic": _classifier("logistic", estimators.logistic, split, clock),
        "logistic_smote": _classifier("logistic_smote", estimators.logistic_smote, split, clock),
    }
    with clock.stage(TITLES["vae_latent"]):
        plain = estimators.plain_vae.fit(split.X_train)
        models["vae_latent"] = _on_latent_means(plain, split, seed)
        latent = _latent(plain, split)
    with clock.stage(_STARTS):
        loss = _loss(plain, split, seed, estimators.starts)
    models["vae_anomaly"] = _one_class(estimators.vae_anomaly, split, clock)
    models["vae_supervised"] = _joint(estimators, split, seed, clock)
    clock.finish()
    beside = _comparison(sample, models, loss)
    return Study(seed, sample, limit, timeline, distributions, models, loss, latent, beside, clock.seconds)


def in_order(frame: pl.DataFrame) -> tuple[pl.DataFrame, bool]:
    """The rows in the order of their IDs, and True, where every ID is a whole number; else as they stand."""
    number = frame[CLIENT_ID].cast(pl.Int64, strict=False)
    if number.null_count():
        return frame, False
    return frame.sort(number, maintain_order=True), True


def refuse_small(frame: pl.DataFrame) -> None:
    """Refuses a portfolio that the study's split and SMOTE cannot work on."""
    defaulters = int(frame[OUTCOME].sum()) if frame.height else 0
    paid = frame.height - defaulters
    if frame.height < MIN_ROWS or min(defaulters, paid) < MIN_PER_CLASS:
        raise TrainingRefused(
            "study",
            expected=f"at least {MIN_ROWS} labelled clients, {MIN_PER_CLASS} or more of each class",
            found=f"{frame.height:,} clients: {paid:,} paid, {defaulters:,} defaulted",
            remedy="Study a larger file, or one with both outcomes.",
        )


def split_of(frame: pl.DataFrame, seed: int) -> Split:
    """The published split: 70/30, stratified by outcome."""
    X, y = attribute_matrix(frame), frame[OUTCOME].cast(pl.Int64).to_numpy()
    return Split(*train_test_split(X, y, test_size=_TEST_SHARE, stratify=y, random_state=seed))


class _Clock:
    """Tells the caller which stage begins, and keeps each stage's seconds."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress, self.seconds = progress, dict[str, float]()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._tell(name)
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started

    def finish(self) -> None:
        self._tell("done")
        self.seconds["total"] = sum(self.seconds.values())

    def _tell(self, name: str) -> None:
        if self.progress is not None:
            self.progress(name, len(self.seconds), len(_STAGES))


# --- The portfolio --------------------------------------------------------------------------------

# What the data set's own description lists; other codes occur and are kept.
_DOCUMENTED: dict[str, frozenset[int]] = {
    "sex": frozenset({1, 2}),
    "education": frozenset({1, 2, 3, 4}),
    "marriage": frozenset({1, 2, 3}),
    **{name: frozenset({-1, *range(1, 10)}) for name in CODE_NAMES if name.startswith("pay_")},
}
_CANONICAL_HEADER = (
    ["ID", "LIMIT_BAL", "SEX", "EDUCATION", "MARRIAGE", "AGE", "PAY_0"]
    + [f"PAY_{n}" for n in range(2, 7)]
    + [f"{stem}{n}" for stem in ("BILL_AMT", "PAY_AMT") for n in range(1, 7)]
    + ["default payment next month"]
)


def content_sha256(frame: pl.DataFrame) -> str:
    """SHA-256 of the portfolio as the canonical CSV, whatever file format and header it came in."""
    renamed = frame.select(CLIENT_ID, *ATTRIBUTE_NAMES, OUTCOME)
    renamed.columns = _CANONICAL_HEADER
    return hashlib.sha256(renamed.write_csv(line_terminator="\n").encode()).hexdigest()


def _sample(frame: pl.DataFrame, split: Split) -> Sample:
    content = frame.select(*ATTRIBUTE_NAMES, OUTCOME)
    return Sample(
        rows=frame.height,
        defaulters=int(frame[OUTCOME].sum()),
        duplicates=frame.height - content.n_unique(),
        undocumented=_undocumented(frame),
        train_rows=len(split.y_train),
        train_defaulters=int(split.y_train.sum()),
        test_rows=len(split.y_test),
        test_defaulters=int(split.y_test.sum()),
        content_sha256=content_sha256(frame),
    )


def _undocumented(frame: pl.DataFrame) -> dict[str, dict[int, int]]:
    """Counts of codes that the data set's description does not list, by attribute."""
    found = {}
    for name, known in _DOCUMENTED.items():
        codes = frame[name].value_counts().sort(name).filter(~pl.col(name).is_in(sorted(known)))
        if codes.height:
            found[name] = {int(code): int(count) for code, count in codes.iter_rows()}
    return found


def _limit_figures(frame: pl.DataFrame) -> dict[str, BoxFigures]:
    groups = {"all": frame, "paid": frame.filter(pl.col(OUTCOME) == 0)}
    groups["defaulted"] = frame.filter(pl.col(OUTCOME) == 1)
    return {name: box_figures(group["limit_bal"].to_numpy()) for name, group in groups.items()}


def box_figures(values: np.ndarray) -> BoxFigures:
    """Quartiles and Tukey's outliers: beyond Q1 − 1.5·IQR or Q3 + 1.5·IQR (Tukey 1977)."""
    q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75])
    reach = 1.5 * (q3 - q1)
    inside = values[(values >= q1 - reach) & (values <= q3 + reach)]
    return BoxFigures(
        clients=len(values),
        mean=float(values.mean()),
        minimum=float(values.min()),
        q1=float(q1),
        median=float(median),
        q3=float(q3),
        maximum=float(values.max()),
        low_fence=float(inside.min()),
        high_fence=float(inside.max()),
        outliers=len(values) - len(inside),
        mean_without=float(inside.mean()),
        median_without=float(np.median(inside)),
    )


def _timeline(frame: pl.DataFrame, by_id: bool) -> Timeline:
    position = frame[CLIENT_ID].cast(pl.Int64) if by_id else pl.int_range(1, frame.height + 1, eager=True)
    limit, defaulted = frame["limit_bal"].to_numpy(), frame[OUTCOME].to_numpy() == 1
    correlations = [_rank_correlation(position.to_numpy(), other) for other in (limit, defaulted)]
    return Timeline(position.to_numpy(), limit, defaulted, by_id, *correlations)


def _rank_correlation(position: np.ndarray, values: np.ndarray) -> float:
    # Undefined for a column of one value: such a column has no trend.
    return float(spearmanr(position, values).statistic) if len(np.unique(values)) > 1 else 0.0


# --- Distributions by class -----------------------------------------------------------------------

_GRID_POINTS = 160
_FEWEST_VALUES = 12


def _distributions(frame: pl.DataFrame) -> tuple[Distribution, ...]:
    defaulted = frame[OUTCOME].to_numpy() == 1
    return tuple(_distribution(a.name, frame[a.name].to_numpy(), defaulted) for a in ATTRIBUTES)


def _distribution(name: str, values: np.ndarray, defaulted: np.ndarray) -> Distribution:
    paid, bad = values[~defaulted], values[defaulted]
    # A curve over a handful of values (or over one) would draw what is not there.
    few = min(len(np.unique(paid)), len(np.unique(bad))) < _FEWEST_VALUES
    return _code_shares(name, paid, bad) if name in CODE_NAMES or few else _density(name, paid, bad)


def _code_shares(name: str, paid: np.ndarray, bad: np.ndarray) -> Distribution:
    codes = np.unique(np.concatenate([paid, bad]))
    shares = [np.array([np.mean(group == code) for code in codes]) for group in (paid, bad)]
    shown = (float(codes[0]), float(codes[-1]))
    return Distribution(name, "codes", codes, shares[0], shares[1], shown, 0.0, _separation(paid, bad))


def _separation(paid: np.ndarray, bad: np.ndarray) -> float:
    return float(ks_2samp(paid, bad, method="asymp").statistic)


def _density(name: str, paid: np.ndarray, bad: np.ndarray) -> Distribution:
    both = np.concatenate([paid, bad])
    low, high = _shown(both) if name in AMOUNT_NAMES else (float(both.min()), float(both.max()))
    at = np.linspace(low, high, _GRID_POINTS)
    outside = float(np.mean((both < low) | (both > high)))
    curves = [gaussian_kde(group, bw_method=_bandwidth_factor(group))(at) for group in (paid, bad)]
    return Distribution(
        name, "density", at, curves[0], curves[1], (low, high), outside, _separation(paid, bad)
    )


def _shown(values: np.ndarray) -> tuple[float, float]:
    """Where to draw an amount: tails a hundred times the median would press the curve against the axis."""
    tails = (0.005, 0.965) if values.min() < 0 else (0.0, 0.96)
    low, high = (float(v) for v in np.quantile(values, tails))
    return (low, high) if low < high else (float(values.min()), float(values.max()))


def _bandwidth_factor(values: np.ndarray) -> float:
    """Silverman's robust rule, as the multiple of the standard deviation that `gaussian_kde` takes.

    Silverman (1986), equation 3.31: h = 0.9 · min(s, IQR / 1.34) · n^(-1/5).
    """
    spread = float(values.std(ddof=1))
    middle = float(np.subtract(*np.quantile(values, [0.75, 0.25]))) / 1.34
    return 0.9 * min(spread, middle or spread) / spread * len(values) ** -0.2


# --- The five models ------------------------------------------------------------------------------


def _classifier(name: str, estimator: Any, split: Split, clock: _Clock) -> Scored:
    with clock.stage(TITLES[name]):
        scores = estimator.fit(split.X_train, split.y_train).predict_proba(split.X_test)[:, 1]
    return _scored(name, scores, split, 0.5, "probability of one half")


def _on_latent_means(plain: Any, split: Split, seed: int) -> Scored:
    head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, random_state=seed))
    head.fit(plain.transform(split.X_train), split.y_train)
    scores = head.predict_proba(plain.transform(split.X_test))[:, 1]
    return _scored("vae_latent", scores, split, 0.5, "probability of one half")


def _one_class(estimator: Any, split: Split, clock: _Clock) -> Scored:
    with clock.stage(TITLES["vae_anomaly"]):
        estimator.fit(split.X_train, split.y_train)
        known, scores = (estimator.reconstruction_error(X) for X in (split.X_train, split.X_test))
    share = float(split.y_train.mean())
    rule = (
        f"the {1 - share:.1%} quantile of the training part's errors, so that as large a share of the "
        f"training clients is flagged as defaulted there ({share:.1%})"
    )
    return _scored("vae_anomaly", scores, split, float(np.quantile(known, 1 - share)), rule)


def _joint(estimators: Estimators, split: Split, seed: int, clock: _Clock) -> Scored:
    with clock.stage(_CUT):
        threshold = recall_cut(estimators.vae_supervised, split, estimators.folds, seed)
    with clock.stage(TITLES["vae_supervised"]):
        fitted = estimators.vae_supervised.fit(split.X_train, split.y_train)
        scores = fitted.predict_proba(split.X_test)[:, 1]
    rule = (
        f"the probability that finds {PUBLISHED_RECALL:.0%} of the training part's defaulters, the published "
        f"recall, in {estimators.folds}-fold cross-validated predictions of the training part"
    )
    return _scored("vae_supervised", scores, split, threshold, rule, at_half=True)


def recall_cut(estimator: Any, split: Split, folds: int, seed: int) -> float:
    """The highest probability at which the published recall is reached, out of fold, in the training part."""
    cv = StratifiedKFold(folds, shuffle=True, random_state=seed)
    scores = cross_val_predict(estimator, split.X_train, split.y_train, cv=cv, method="predict_proba")[:, 1]
    return float(np.quantile(scores[split.y_train == 1], 1 - PUBLISHED_RECALL, method="lower"))


def _scored(
    name: str, scores: np.ndarray, split: Split, threshold: float, rule: str, *, at_half: bool = False
) -> Scored:
    rates = sklearn_roc_curve(split.y_test, scores)[:2]
    return Scored(
        name=name,
        title=TITLES[name],
        method=METHODS[name],
        scores=scores,
        roc_auc=float(roc_auc_score(split.y_test, scores)),
        report=report_at(split.y_test, scores, threshold, rule),
        at_half=report_at(split.y_test, scores, 0.5, "probability of one half") if at_half else None,
        curve=thinned(np.column_stack(rates)),
    )


def report_at(y: np.ndarray, scores: np.ndarray, threshold: float, rule: str) -> Report:
    """The classification report when clients with score ≥ `threshold` are called defaulters."""
    called = (scores >= threshold).astype(int)
    rows = precision_recall_fscore_support(y, called, labels=[0, 1], zero_division=0)
    paid, defaulted = (
        ClassFigures(float(p), float(r), float(f), int(n)) for p, r, f, n in zip(*rows, strict=True)
    )
    counts = confusion_matrix(y, called, labels=[0, 1])
    confusion = ((int(counts[0, 0]), int(counts[0, 1])), (int(counts[1, 0]), int(counts[1, 1])))
    return Report(threshold, rule, float(accuracy_score(y, called)), paid, defaulted, confusion)


def thinned(points: np.ndarray, most: int = 240) -> np.ndarray:
    """At most `most` points of a curve, evenly by position, both ends kept."""
    places = np.unique(np.linspace(0, len(points) - 1, most).round().astype(int))
    return points[places]


def _loss(plain: Any, split: Split, seed: int, starts: int) -> Loss:
    others = (
        clone(plain).set_params(epochs=1, random_state=seed + n).fit(split.X_train)
        for n in range(1, starts + 1)
    )
    return Loss(
        first_batch=float(plain.first_batch_loss_),
        per_epoch=tuple(map(float, plain.loss_history_)),
        other_starts=tuple(sorted(float(other.first_batch_loss_) for other in others)),
    )


def _latent(plain: Any, split: Split) -> Latent:
    pca = PCA().fit(plain.transform(split.X_train))
    points = _signed(pca).transform(plain.transform(split.X_test))[:, :2]
    if points.shape[1] < 2:
        points = np.column_stack([points, np.zeros(len(points))])
    return Latent(points, split.y_test == 1, tuple(map(float, pca.explained_variance_ratio_)))


def _signed(pca: PCA) -> PCA:
    # The sign of a component is arbitrary: fixing it keeps two runs' pictures the same way up.
    largest = np.abs(pca.components_).argmax(axis=1)
    signs = np.sign(pca.components_[np.arange(len(largest)), largest])
    pca.components_ *= signs[:, None]
    return pca


# --- Beside the published figures -----------------------------------------------------------------


def _comparison(sample: Sample, models: Mapping[str, Scored], loss: Loss) -> tuple[Comparison, ...]:
    found = [*_sample_figures(sample), *_model_figures(models), *_loss_figures(loss)]
    return tuple(
        Comparison(subject, figure, published, ours, tolerance, _verdict(sample, ours - published, tolerance))
        for subject, figure, published, ours, tolerance in found
    )


def _verdict(sample: Sample, difference: float, tolerance: float) -> str:
    if not sample.is_published:
        return "not comparable"
    # The figures are printed rounded: a difference of exactly the tolerance still matches.
    return "matches" if abs(difference) <= tolerance + 1e-9 else "differs"


def unlike_published(sample: Sample) -> str | None:
    """In what the portfolio is not the published data set; None where it is."""
    if sample.is_published:
        return None
    if (sample.rows, sample.defaulters) != (PUBLISHED_ROWS, PUBLISHED_DEFAULTERS):
        return (
            f"this file holds {sample.rows:,} clients of whom {sample.defaulters:,} defaulted, "
            f"the published data set {PUBLISHED_ROWS:,} and {PUBLISHED_DEFAULTERS:,}."
        )
    return "this file has the published data set's size and class counts, but its values are not the same."


_Found = tuple[str, str, float, float, float]


def _sample_figures(sample: Sample) -> Iterator[_Found]:
    for name, published in PUBLISHED_SHARES.items():
        yield "portfolio", f"share {name}", published, sample.shares[name], 0.0005
    yield "portfolio", "test clients", PUBLISHED_TEST_ROWS, sample.test_rows, 0
    yield "portfolio", "test defaulters", PUBLISHED_TEST_DEFAULTERS, sample.test_defaulters, 0


def _model_figures(models: Mapping[str, Scored]) -> Iterator[_Found]:
    for name, figures in PUBLISHED_MODELS.items():
        ours = headline(models[name])
        for figure, published in figures.items():
            yield name, figure, published, ours[figure], TOLERANCES.get(figure, TOLERANCES["printed"])


def _loss_figures(loss: Loss) -> Iterator[_Found]:
    yield "vae_loss", "first batch", PUBLISHED_FIRST_BATCH_LOSS, loss.first_batch, TOLERANCES["loss"]
    for epoch, published in PUBLISHED_EPOCH_LOSS.items():
        if epoch <= len(loss.per_epoch):
            yield "vae_loss", f"epoch {epoch}", published, loss.per_epoch[epoch - 1], TOLERANCES["loss"]


def headline(model: Scored) -> dict[str, float]:
    """ROC AUC, accuracy and the defaulters' precision, recall, F1 and support."""
    row = model.report.defaulted
    return {
        "roc_auc": model.roc_auc,
        "accuracy": model.report.accuracy,
        "precision": row.precision,
        "recall": row.recall,
        "f1": row.f1,
        "support": row.support,
    }


# --- As JSON --------------------------------------------------------------------------------------


def _figures(study: Study) -> dict[str, Any]:
    sample = study.sample
    return {
        "seed": study.seed,
        "rows": sample.rows,
        "class_shares": sample.shares,
        "duplicates": sample.duplicates,
        "undocumented_codes": {
            name: {str(code): clients for code, clients in codes.items()}
            for name, codes in sample.undocumented.items()
        },
        "content_sha256": sample.content_sha256,
        "is_published_data": sample.is_published,
        "unlike_published_data": unlike_published(sample),
        "split": _split_figures(study),
        "limit_bal": {name: asdict(box) for name, box in study.limit.items()},
        "rank_correlation_with_id": {
            "limit_bal": study.timeline.limit_correlation,
            OUTCOME: study.timeline.default_correlation,
        },
        "class_separation": {d.name: d.separation for d in study.distributions},
        "models": {name: _model_json(model) for name, model in study.models.items()},
        "vae_loss": {
            "first_batch": study.loss.first_batch,
            "per_epoch": list(study.loss.per_epoch),
            "first_batch_other_starts": list(study.loss.other_starts),
        },
        "latent_pca": {"explained_variance": list(study.latent.explained)},
        "published": _published_json(),
        "comparison": [{**asdict(row), "difference": row.difference} for row in study.comparison],
    }


def _split_figures(study: Study) -> dict[str, Any]:
    sample = study.sample
    return {
        "test_share": _TEST_SHARE,
        "stratified": True,
        "random_state": study.seed,
        "train": {"rows": sample.train_rows, "defaulters": sample.train_defaulters},
        "test": {"rows": sample.test_rows, "defaulters": sample.test_defaulters},
    }


def _model_json(model: Scored) -> dict[str, Any]:
    return {
        **headline(model),
        **_report_json(model.report),
        "at_half": _report_json(model.at_half) if model.at_half else None,
        "roc_curve": model.curve.round(6).tolist(),
    }


def _report_json(report: Report) -> dict[str, Any]:
    return {
        "accuracy": report.accuracy,
        "threshold": report.threshold,
        "threshold_rule": report.rule,
        "per_class": {"0": asdict(report.paid), "1": asdict(report.defaulted)},
        "confusion_matrix": [list(row) for row in report.confusion],
    }


def _published_json() -> dict[str, Any]:
    return {
        "source": SOURCE,
        "models": PUBLISHED_MODELS,
        "class_shares": PUBLISHED_SHARES,
        "vae_loss": {
            "first_batch": PUBLISHED_FIRST_BATCH_LOSS,
            "per_epoch": {str(epoch): value for epoch, value in PUBLISHED_EPOCH_LOSS.items()},
        },
    }
