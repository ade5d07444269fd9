"""The variational auto-encoder (VAE) as scikit-learn estimators: what they share, and the classifier.

`VAEClassifier` trains encoder, decoder and a classification head together; `models.anomaly` learns what a
client who pays looks like. All take raw columns: scaling and coding are part of the fitted state, so that an
artifact needs nothing beside itself.

Reproducibility. With an integer `random_state` a fit gives the same weights to the last digit, on one machine
and one version of torch, whatever torch's global seed and number of threads; another `batch_size` is another
fit. Scoring draws no random number and always runs on blocks of `BLOCK` rows, the last one padded, so that a
client's score is the same to the last digit whether scored alone or among a million, in any order.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from scipy.special import expit, logit
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, check_scalar, validate_data

from creditflow.errors import ArtifactCorrupt, ArtifactNewer
from models import network as nw
from models.preprocessing import Encoding, binary_labels
from models.threads import in_threads

BLOCK = 4096
STATE_FORMAT = 2

Likelihood = Literal["mixed", "gaussian"]

# ---- Checked settings -------------------------------------------------------------------------------------

_WHOLE = (int, np.integer)
_REAL = (int, float, np.integer, np.floating)
# name: (type, least, greatest, which of the two limits belong to the range)
_RANGES: dict[str, tuple[tuple[type, ...], float, float | None, str]] = {
    "latent_dim": (_WHOLE, 1, None, "left"),
    "ensemble_size": (_WHOLE, 1, None, "left"),
    "starts": (_WHOLE, 1, None, "left"),
    "hidden_units": (_WHOLE, 1, None, "left"),
    "hidden_layers": (_WHOLE, 1, None, "left"),
    "decoder_units": (_WHOLE, 1, None, "left"),
    "dropout": (_REAL, 0, 1, "left"),
    "input_noise": (_REAL, 0, None, "left"),
    "beta": (_REAL, 0, None, "left"),
    "elbo_weight": (_REAL, 0, None, "left"),
    "epochs": (_WHOLE, 1, None, "left"),
    "batch_size": (_WHOLE, 1, None, "left"),
    "learning_rate": (_REAL, 0, None, "neither"),
    "weight_decay": (_REAL, 0, None, "left"),
    "averaging": (_REAL, 0, 1, "left"),
    "knots": (_WHOLE, 2, None, "left"),
    "contamination": (_REAL, 0, 0.5, "right"),
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "likelihood": ("mixed", "gaussian"),
    "schedule": ("cosine", "constant"),
}


def check_settings(settings: dict[str, Any]) -> None:
    for name, (kind, least, greatest, closed) in _RANGES.items():
        if name in settings:
            check_scalar(
                settings[name], name, kind, min_val=least, max_val=greatest, include_boundaries=closed
            )
    if settings["gradient_clip"] is not None:
        check_scalar(
            settings["gradient_clip"], "gradient_clip", _REAL, min_val=0, include_boundaries="neither"
        )
    for name, allowed in _CHOICES.items():
        if settings[name] not in allowed:
            raise ValueError(f"{name} == {settings[name]!r}, must be one of {', '.join(allowed)}.")


def _check_categorical(indices: Any, columns: int, likelihood: str) -> list[int]:
    """Positions of the coded columns, sorted; none under the Gaussian likelihood, where codes are numbers."""
    if indices is None or likelihood == "gaussian":
        return []
    return _positions("categorical_features", indices, columns)


def _check_reconstructed(indices: Any, columns: int, amounts: Sequence[int]) -> tuple[int, ...] | None:
    """Places among the amounts of the columns to rebuild, sorted; None for all of them."""
    if indices is None:
        return None
    chosen = _positions("reconstructed_features", indices, columns)
    coded = sorted(set(chosen) - set(amounts))
    if coded:
        raise ValueError(
            f"reconstructed_features names amounts, and {coded} are among categorical_features, which are "
            "always rebuilt."
        )
    return tuple(amounts.index(j) for j in chosen)


def _positions(name: str, indices: Any, columns: int) -> list[int]:
    wrong = [j for j in indices if isinstance(j, bool | str) or not 0 <= j < columns]
    if wrong or len(set(indices)) < len(indices):
        raise ValueError(
            f"{name} must hold distinct column positions from 0 to {columns - 1}, got {list(indices)}."
        )
    return sorted(int(j) for j in indices)


def resolve_device(name: str) -> str:
    """The torch device to compute on: "auto" is CUDA where there is one, else the CPU.

    Raises:
        ValueError: torch has no such device here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        found = ", ".join(["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
        raise ValueError(
            f"device == {name!r}, must be 'auto' or a device of torch that is there ({found})."
        ) from error
    return name


# ---- What both estimators share --------------------------------------------------------------------------


class VAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Encoding, training, block-wise scoring and state: the base of the estimators, no use of its own."""

    # Declared for the type checker; each estimator's __init__ sets them.
    categorical_features: Any
    likelihood: Likelihood
    latent_dim: int
    hidden_units: int
    hidden_layers: int
    decoder_units: int
    dropout: float
    input_noise: float
    beta: float
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    schedule: nw.Schedule
    gradient_clip: float | None
    averaging: float
    knots: int
    random_state: Any
    device: str
    # An estimator whose __init__ takes these says so itself.
    ensemble_size: int = 1
    reconstructed_features: Any = None
    labelled_decoder: bool = False
    starts: int = 1

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "weights_")

    @property
    def _n_features_out(self) -> int:
        return self.weights_["mean.bias"].shape[0]

    def transform(self, X: Any) -> np.ndarray:
        """Latent means, (n, latent_dim) float64; X is (n, n_features_in_), finite numbers.

        Of an ensemble the mean over its members, which share the layer that gives them.
        """
        return self._score(X, _latent_means)

    # ---- Fitting

    def _fit_network(self, X: np.ndarray, label: np.ndarray | None) -> None:
        """Learn encoding and weights from X (n, p) float64; label (n,) of 0 and 1 adds the head."""
        categorical = _check_categorical(self.categorical_features, X.shape[1], self.likelihood)
        scaling: Literal["quantile", "standard"] = "quantile" if self.likelihood == "mixed" else "standard"
        self.encoding_ = Encoding.fit(X, categorical, scaling, self.knots)
        seeds = check_random_state(self.random_state)
        fitted = [self._train(X, label, seeds.randint(np.iinfo(np.int32).max)) for _ in range(self.starts)]
        (self.weights_, history), *further = fitted
        self.further_weights_ = [weights for weights, _ in further]
        self.loss_history_ = history.epochs
        self.first_batch_loss_ = history.first_batch

    def _train(
        self, X: np.ndarray, label: np.ndarray | None, seed: int
    ) -> tuple[dict[str, np.ndarray], nw.History]:
        device = resolve_device(self.device)
        noise = nw.Noise(torch.Generator().manual_seed(int(seed)))
        with nw.single_thread(), torch.enable_grad():
            net = nw.Network(self._shape(head=label is not None))
            net.initialise(noise.generator, 0.0 if label is None else float(logit(label.mean())))
            net.to(device)
            rows = self._batch(X, device)
            if label is not None:
                rows = rows._replace(label=torch.from_numpy(label.astype(np.float32)).to(device))
            history = nw.train(net, rows, self._objective(), self._training(), noise, type(self).__name__)
        return nw.to_arrays(net), history

    def _shape(self, head: bool) -> nw.Shape:
        return nw.Shape(
            amounts=len(self.encoding_.numeric),
            codes=self.encoding_.sizes,
            hidden_units=self.hidden_units,
            hidden_layers=self.hidden_layers,
            decoder_units=self.decoder_units,
            latent_dim=self.latent_dim,
            head=head,
            members=self.ensemble_size,
            reconstructed=self._reconstructed(),
            labelled=head and self.labelled_decoder,
        )

    def _reconstructed(self) -> tuple[int, ...] | None:
        amounts = [column.index for column in self.encoding_.numeric]
        if self.reconstructed_features is not None and not [
            *self.reconstructed_features,
            *self.encoding_.codes,
        ]:
            raise ValueError("reconstructed_features is empty, and there are no codes: nothing is rebuilt.")
        return _check_reconstructed(self.reconstructed_features, len(self.encoding_.order), amounts)

    def _objective(self) -> nw.Objective:
        weight = getattr(self, "elbo_weight", 1.0)
        return nw.Objective(self.likelihood, self.beta, weight, self.dropout, self.input_noise)

    def _training(self) -> nw.Training:
        return nw.Training(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            gradient_clip=self.gradient_clip,
            averaging=self.averaging,
        )

    # ---- Scoring

    def _score(self, X: Any, function: Callable[[nw.Network, nw.Batch], torch.Tensor]) -> np.ndarray:
        """`function` over checked rows."""
        check_is_fitted(self)
        return self._blocks(validate_data(self, X, reset=False, dtype=np.float64), function)

    def _blocks(self, X: np.ndarray, function: Callable[[nw.Network, nw.Batch], torch.Tensor]) -> np.ndarray:
        """`function` over blocks of a fixed size, float64."""
        device = resolve_device(self.device)
        with nw.single_thread(), torch.inference_mode():
            net = self._network(device)
            return over_blocks(X, lambda block: _as_array(function(net, self._batch(block, device))))

    def _network(self, device: str, start: int = 0) -> nw.Network:
        weights = [self.weights_, *self.further_weights_][start]
        return nw.from_arrays(self._shape("head.weight" in weights), weights, device)

    def _batch(self, X: np.ndarray, device: str) -> nw.Batch:
        amounts, codes = self.encoding_.amounts(X), self.encoding_.positions(X)
        # The copy puts rows at torch's own memory alignment, on which the rounding of a product may depend.
        return nw.Batch(torch.tensor(amounts, device=device), torch.tensor(codes, device=device))

    # ---- State

    def get_state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Everything that scoring needs: plain arrays by name, and facts that JSON can hold.

        Raises:
            ValueError: `random_state` is a generator object, which JSON cannot hold.
        """
        check_is_fitted(self)
        params = {name: _plain(name, value) for name, value in self.get_params(deep=False).items()}
        tensors, encoding = self.encoding_.get_state()
        for start, weights in enumerate([self.weights_, *self.further_weights_]):
            tensors |= {f"{_prefix(start)}{name}": array for name, array in weights.items()}
        meta = {
            "format": STATE_FORMAT,
            "estimator": type(self).__name__,
            "params": params,
            "encoding": encoding,
            "n_features_in": self.n_features_in_,
            "feature_names_in": list(map(str, getattr(self, "feature_names_in_", []))),
            "loss_history": self.loss_history_,
            "first_batch_loss": self.first_batch_loss_,
        }
        return tensors, meta | self._extra_state(tensors)

    @classmethod
    def from_state(cls, tensors: dict[str, np.ndarray], meta: dict[str, Any]) -> Self:
        """The fitted estimator that `get_state` described; it scores bit for bit alike.

        Raises:
            ArtifactNewer: the state was written in a later format.
            ArtifactCorrupt: the state belongs to another estimator, or arrays are missing.
        """
        _refuse_state(cls.__name__, meta)
        try:
            estimator = cls(**meta["params"])
            estimator._restore(tensors, meta)
        except (KeyError, TypeError, RuntimeError) as error:
            raise ArtifactCorrupt(
                f"state of {cls.__name__}",
                expected="every array and fact that its settings call for",
                found=str(error),
                remedy="Restore the artifact from a backup, or train again.",
            ) from error
        return estimator

    def _restore(self, tensors: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
        self.encoding_ = Encoding.from_state(tensors, meta["encoding"])
        self.weights_, *self.further_weights_ = [
            {n.removeprefix(prefix): a for n, a in tensors.items() if n.startswith(prefix)}
            for prefix in map(_prefix, range(self.starts))
        ]
        self.n_features_in_ = meta["n_features_in"]
        if meta["feature_names_in"]:
            self.feature_names_in_ = np.array(meta["feature_names_in"], dtype=object)
        self.loss_history_ = meta["loss_history"]
        self.first_batch_loss_ = meta["first_batch_loss"]
        self._restore_extra(tensors, meta)
        # Wrong sizes show here rather than at the first score.
        for start in range(self.starts):
            self._network("cpu", start)

    def _extra_state(self, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
        raise NotImplementedError

    def _restore_extra(self, tensors: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
        raise NotImplementedError


def _prefix(start: int) -> str:
    """What names the weights of a start in the state."""
    return f"weights_{start}." if start else "weights."


def _latent_means(net: nw.Network, batch: nw.Batch) -> torch.Tensor:
    means = net.encode(net.inputs(batch))[0]
    return means.view(-1, net.shape.members, net.shape.latent_dim).mean(dim=1)


# ---- Blocks of rows --------------------------------------------------------------------------------------


def over_blocks(X: np.ndarray, score: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """`score` of every block of X (n, p): (n, …) float64.

    A matrix product of another height may take another path through the processor and round differently, so
    every block has the same height. Blocks are shared out over the processors, and each is computed by one.
    """

    def found(start: int) -> np.ndarray:
        block = X[start : start + BLOCK]
        with torch.inference_mode():
            return score(_padded(block))[: len(block)]

    first, *starts = range(0, len(X), BLOCK)
    head = found(first)
    scores = np.empty((len(X), *head.shape[1:]), dtype=np.float64)
    scores[:BLOCK] = head

    def fill(start: int) -> None:
        scores[start : start + BLOCK] = found(start)

    for _ in in_threads(fill, starts):
        pass
    return scores


def _as_array(found: torch.Tensor) -> np.ndarray:
    return found.cpu().numpy()


def _padded(block: np.ndarray) -> np.ndarray:
    """Exactly BLOCK rows, filled up with the block's own last row."""
    missing = BLOCK - len(block)
    return np.pad(block, ((0, missing), (0, 0)), mode="edge") if missing else block


def _plain(name: str, value: Any) -> Any:
    """A parameter as JSON holds it."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(name, item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(
        f"{name} is a {type(value).__name__}: to keep a state, give a plain number, text or None."
    )


def _refuse_state(name: str, meta: dict[str, Any]) -> None:
    if meta.get("format", 0) > STATE_FORMAT:
        raise ArtifactNewer(
            f"state of {name}",
            expected=f"format {STATE_FORMAT} or earlier",
            found=f"format {meta['format']}",
            remedy="Update creditflow, or train again.",
        )
    if meta.get("format", 0) < STATE_FORMAT:
        raise ArtifactCorrupt(
            f"state of {name}",
            expected=f"format {STATE_FORMAT}",
            found=f"format {meta.get('format', 0)}, of an earlier creditflow",
            remedy="Train again: earlier models take other columns.",
        )
    if meta.get("estimator") != name:
        raise ArtifactCorrupt(
            f"state of {name}",
            expected=f"a state written by {name}",
            found=str(meta.get("estimator")),
            remedy="Load it with the estimator that wrote it.",
        )


# ---- Classifier ------------------------------------------------------------------------------------------


class VAEClassifier(ClassifierMixin, VAE):
    """Encoder → latent means → head, trained jointly with the VAE on two classes of any labels.

    Loss: cross-entropy of the head on the latent means + `elbo_weight` · (reconstruction + `beta` · KL).

    Args:
        elbo_weight: weight of the VAE's loss; from 0.1 on reconstruction takes over and ranking suffers.
        ensemble_size: members of the parameter-efficient ensemble; 1 is a plain network.
        starts: networks, each from its own random start, whose log-odds are averaged; training and scoring
            take so many times as long. `transform` and the losses are the first one's.
        reconstructed_features: positions of the amounts that the decoder rebuilds beside every code; None is
            all of them. Columns computed from others add nothing to what a latent has to hold.
        labelled_decoder: whether the decoder is told the label beside the latent, in training.
        categorical_features, likelihood, latent_dim, hidden_units, hidden_layers, decoder_units, dropout,
        input_noise, beta, epochs, batch_size, learning_rate, weight_decay, schedule, gradient_clip,
        averaging, knots, random_state: as in `VAEAnomalyDetector`.
        device: "auto" (CUDA where there is one, else the CPU) or a torch device. The fitted state knows none.

    Attributes:
        classes_: (2,) the labels, sorted; probabilities and logits are of the second.
        loss_history_: mean total loss of each epoch. first_batch_loss_: total loss of the first batch.
        reference_: (encoded width,) mean encoded input of the training rows, what `contributions` start from.
        encoding_, weights_, further_weights_: fitted state, weights of the first start and of the others.
        n_features_in_, feature_names_in_: as in scikit-learn.
    """

    def __init__(
        self,
        *,
        elbo_weight: float = 0.01,
        ensemble_size: int = 4,
        starts: int = 1,
        categorical_features: Any = None,
        reconstructed_features: Any = None,
        labelled_decoder: bool = True,
        likelihood: Likelihood = "mixed",
        latent_dim: int = 16,
        hidden_units: int = 128,
        hidden_layers: int = 2,
        decoder_units: int = 64,
        dropout: float = 0.15,
        input_noise: float = 0.1,
        beta: float = 1.0,
        epochs: int = 12,
        batch_size: int = 512,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-3,
        schedule: nw.Schedule = "cosine",
        gradient_clip: float | None = 2.0,
        averaging: float = 0.995,
        knots: int = 400,
        random_state: Any = None,
        device: str = "auto",
    ) -> None:
        self.elbo_weight = elbo_weight
        self.ensemble_size = ensemble_size
        self.starts = starts
        self.categorical_features = categorical_features
        self.reconstructed_features = reconstructed_features
        self.labelled_decoder = labelled_decoder
        self.likelihood = likelihood
        self.latent_dim = latent_dim
        self.hidden_units = hidden_units
        self.hidden_layers = hidden_layers
        self.decoder_units = decoder_units
        self.dropout = dropout
        self.input_noise = input_noise
        self.beta = beta
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.gradient_clip = gradient_clip
        self.averaging = averaging
        self.knots = knots
        self.random_state = random_state
        self.device = device

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def fit(self, X: Any, y: Any) -> Self:
        """Learn X (n, p) and the labels y (n,).

        Raises:
            TrainingRefused: y holds one class only (also a ValueError, as scikit-learn expects).
            TrainingDiverged: the loss is not a finite number.
            ValueError: more than two classes, or numbers that are no classes.
        """
        check_settings(self.get_params(deep=False))
        X, y = validate_data(self, X, y, dtype=np.float64)
        self.classes_, label = binary_labels(y, type(self).__name__)
        self._fit_network(X, label)
        self.reference_ = self.encoding_.mean_input(X)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """(n,) log-odds of the second class."""
        return self._folded(X, lambda net, batch: _as_array(net.logit(net.network.inputs(batch))))

    def predict_proba(self, X: Any) -> np.ndarray:
        """(n, 2) probabilities of `classes_`."""
        log_odds = self.decision_function(X)
        # 1 − p would lose the digits of a probability near zero.
        return np.column_stack([expit(-log_odds), expit(log_odds)])

    def predict(self, X: Any) -> np.ndarray:
        """(n,) the likelier label."""
        second = self.decision_function(X) > 0
        return self.classes_[second.astype(int)]

    def contributions(self, X: Any) -> tuple[float, np.ndarray]:
        """What each column adds to a client's log-odds, against the mean training client.

        Returns:
            base: log-odds of the mean encoded input of the training rows.
            values: (n, n_features_in_) log-odds; base + values.sum(axis=1) is `decision_function` within
                1e-4. A code's one-hot columns are summed onto its own.

        DeepLIFT with the Rescale rule on the folded network, see `network.Folded.contributions`.
        """
        reference = torch.from_numpy(self.reference_.astype(np.float32))
        with torch.inference_mode():
            base = float(self._folded_network("cpu").logit(reference[None])[0])

        def explained(net: nw.Folded, batch: nw.Batch) -> np.ndarray:
            found = net.contributions(net.network.inputs(batch), reference.to(batch.amounts.device))
            return self.encoding_.by_column(_as_array(found))

        return base, self._folded(X, explained)

    def _folded(self, X: Any, function: Callable[[nw.Folded, nw.Batch], np.ndarray]) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        device = resolve_device(self.device)
        with nw.single_thread():
            net = self._folded_network(device)
            return over_blocks(X, lambda block: function(net, self._batch(block, device)))

    def _folded_network(self, device: str) -> nw.Folded:
        with torch.inference_mode():
            return nw.Folded([self._network(device, start) for start in range(self.starts)])

    def _extra_state(self, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
        tensors["reference"] = self.reference_
        kind = "object" if self.classes_.dtype == object else self.classes_.dtype.str
        return {"classes": self.classes_.tolist(), "classes_dtype": kind}

    def _restore_extra(self, tensors: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
        self.reference_ = tensors["reference"]
        self.classes_ = np.array(meta["classes"], dtype=meta["classes_dtype"])
