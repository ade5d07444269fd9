"""The variational auto-encoder in torch, and the one trainer for everything that is built on it.

Every random number comes from one `torch.Generator` on the CPU: torch's global seed is neither read nor
moved, and another device sees the same noise.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from creditflow.errors import TrainingDiverged

Schedule = Literal["cosine", "constant"]

LOG_VARIANCE = (-8.0, 4.0)


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread for torch inside: sums keep their order, and crowded cores do not slow it tenfold."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


# ---- The network -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """Sizes of a network: `amounts` numbers, and one softmax for each of `codes` (its categories)."""

    amounts: int
    codes: tuple[int, ...]
    hidden_units: int
    hidden_layers: int
    decoder_units: int
    latent_dim: int
    head: bool

    @property
    def width(self) -> int:
        """Inputs of the encoder: the amounts and every category one-hot."""
        return self.amounts + sum(self.codes)


class Batch(NamedTuple):
    """Encoded rows: amounts (n, a) float32, codes (n, c) int64, a classifier's label (n,) float32."""

    amounts: Tensor
    codes: Tensor
    label: Tensor | None = None


class Network(nn.Module):
    """Encoder → latent mean and log-variance → decoder, with an optional head on the latent means.

    The encoder sees `width` inputs; the decoder gives a mean for each amount, with one learned standard
    deviation an amount, and logits for each category (Kingma and Welling 2014, arXiv 1312.6114, with a
    likelihood a column).
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        sizes = [shape.width, *[shape.hidden_units] * shape.hidden_layers]
        self.encoder = nn.ModuleList(_linear(a, b) for a, b in pairwise(sizes))
        self.mean = _linear(sizes[-1], shape.latent_dim)
        self.log_variance = _linear(sizes[-1], shape.latent_dim)
        self.decoder = _linear(shape.latent_dim, shape.decoder_units)
        self.output = _linear(shape.decoder_units, shape.width)
        self.log_sigma = nn.Parameter(torch.zeros(shape.amounts, dtype=torch.float32))
        self.head = _linear(shape.latent_dim, 1) if shape.head else None
        self.register_buffer("offsets", _offsets(shape.codes), persistent=False)

    def initialise(self, generator: torch.Generator, base_log_odds: float = 0.0) -> None:
        """torch's own default for linear layers, uniform within ±1/√inputs, from `generator`.

        The head starts at the base rate, so that the first steps do not go into learning it.
        """
        with torch.no_grad():
            for layer in (m for m in self.modules() if isinstance(m, nn.Linear)):
                bound = 1 / math.sqrt(layer.in_features)
                for parameter in (layer.weight, layer.bias):
                    parameter.uniform_(-bound, bound, generator=generator)
            if self.head is not None:
                self.head.bias.fill_(base_log_odds)

    def inputs(self, batch: Batch) -> Tensor:
        """(n, width): the amounts beside the one-hot codes."""
        onehot = batch.amounts.new_zeros(len(batch.amounts), sum(self.shape.codes))
        onehot.scatter_(1, batch.codes + self.offsets, 1.0)
        return torch.cat([batch.amounts, onehot], dim=1)

    def encode(self, inputs: Tensor, drop: Callable[[Tensor], Tensor] = lambda x: x) -> tuple[Tensor, Tensor]:
        """Latent mean and log-variance, both (n, latent_dim)."""
        hidden = inputs
        for layer in self.encoder:
            hidden = drop(functional.relu(layer(hidden)))
        return self.mean(hidden), self.log_variance(hidden).clamp(*LOG_VARIANCE)

    def decode(self, latent: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Mean of each amount (n, a), and logits (n, k) of each coded column."""
        output = self.output(functional.silu(self.decoder(latent)))
        amounts, *codes = output.split([self.shape.amounts, *self.shape.codes], dim=1)
        return amounts, tuple(codes)

    def logit(self, mean: Tensor) -> Tensor:
        """(n,) log-odds of the second class, from the latent means."""
        assert self.head is not None  # noqa: S101 - only a classifier asks
        return self.head(mean).squeeze(1)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    # nn.Linear alone would draw its weights from torch's global generator.
    return nn.utils.skip_init(nn.Linear, inputs, outputs, dtype=torch.float32)


def _offsets(sizes: Sequence[int]) -> Tensor:
    return torch.tensor([sum(sizes[:i]) for i in range(len(sizes))], dtype=torch.int64)


# ---- Losses ----------------------------------------------------------------------------------------------


def deviations(network: Network, batch: Batch, latent: Tensor) -> Tensor:
    """(n, a + c) how far each column is from its reconstruction.

    Amounts: value − reconstruction, signed. Codes: the deviance residual √(−2 log p(observed)), at least
    zero; like a standardised amount its square is twice a negative log-likelihood.
    """
    amounts, codes = network.decode(latent)
    return torch.cat([batch.amounts - amounts, (2 * surprises(batch, codes)).sqrt()], dim=1)


def surprises(batch: Batch, logits: Sequence[Tensor]) -> Tensor:
    """(n, c) −log p(observed category)."""
    if not logits:
        return batch.amounts.new_zeros(len(batch.amounts), 0)
    found = [
        functional.cross_entropy(row, batch.codes[:, i], reduction="none") for i, row in enumerate(logits)
    ]
    return torch.stack(found, dim=1)


def mixed_reconstruction(network: Network, batch: Batch, latent: Tensor) -> Tensor:
    """Negative log-likelihood, summed over columns (Gaussian or categorical), mean over rows."""
    amounts, codes = network.decode(latent)
    scaled = (batch.amounts - amounts) * torch.exp(-network.log_sigma)
    gaussian = (scaled**2 / 2 + network.log_sigma).sum(dim=1)
    return (gaussian + surprises(batch, codes).sum(dim=1)).mean()


def squared_reconstruction(network: Network, batch: Batch, latent: Tensor) -> Tensor:
    """Mean squared error over rows and columns; every column is an amount."""
    amounts, _ = network.decode(latent)
    return functional.mse_loss(amounts, batch.amounts)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) ‖ N(0, 1)) summed over latent dimensions, mean over rows (ibid., appendix B)."""
    return (-0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(dim=1)).mean()


@dataclass(frozen=True)
class Objective:
    """label_weight · cross-entropy + elbo_weight · (reconstruction + beta · KL)."""

    likelihood: Literal["mixed", "gaussian"]
    beta: float
    elbo_weight: float
    dropout: float
    input_noise: float

    def __call__(self, network: Network, batch: Batch, noise: "Noise") -> Tensor:
        inputs = network.inputs(batch)
        if self.input_noise:
            inputs = inputs + self.input_noise * noise.normal(inputs)
        mean, log_variance = network.encode(inputs, lambda hidden: noise.drop(hidden, self.dropout))
        latent = mean + torch.exp(log_variance / 2) * noise.normal(mean)
        reconstruct = mixed_reconstruction if self.likelihood == "mixed" else squared_reconstruction
        loss = reconstruct(network, batch, latent) + self.beta * divergence(mean, log_variance)
        if batch.label is None:
            return loss
        fit = functional.binary_cross_entropy_with_logits(network.logit(mean), batch.label)
        return fit + self.elbo_weight * loss


@dataclass(frozen=True)
class Noise:
    """All random numbers of a training run."""

    generator: torch.Generator

    def normal(self, like: Tensor) -> Tensor:
        drawn = torch.empty(like.shape, dtype=like.dtype).normal_(generator=self.generator)
        return drawn.to(like.device)

    def drop(self, hidden: Tensor, share: float) -> Tensor:
        """Dropout; torch's own takes no generator."""
        if share == 0:
            return hidden
        kept = torch.empty(hidden.shape, dtype=hidden.dtype).bernoulli_(1 - share, generator=self.generator)
        return hidden * kept.to(hidden.device) / (1 - share)

    def shuffle(self, rows: int) -> Tensor:
        return torch.randperm(rows, generator=self.generator)


# ---- Trainer ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Training:
    """How to descend: AdamW with or without warm-up and cosine, clipped gradients, averaged weights."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    schedule: Schedule
    gradient_clip: float | None
    averaging: float


@dataclass(frozen=True)
class History:
    """Total loss: of the first batch, and the mean over the rows of each epoch."""

    first_batch: float
    epochs: list[float]


def train(
    network: Network, rows: Batch, objective: Objective, settings: Training, noise: Noise, name: str
) -> History:
    """Fit the network in place to all rows; `name` is the model's, for the error.

    Raises:
        TrainingDiverged: the loss is not a finite number; the epoch is named.
    """
    descent = _Descent(network, settings, math.ceil(len(rows.amounts) / settings.batch_size))
    first, means = math.nan, []
    for epoch in range(1, settings.epochs + 1):
        total = 0.0
        for chosen in noise.shuffle(len(rows.amounts)).split(settings.batch_size):
            loss = objective(network, _select(rows, chosen), noise)
            value = loss.item()
            _refuse_divergence(value, epoch, settings, name)
            first = value if math.isnan(first) else first
            total += value * len(chosen)
            descent.step(loss)
        means.append(total / len(rows.amounts))
    descent.finish()
    return History(first, means)


def _select(rows: Batch, chosen: Tensor) -> Batch:
    chosen = chosen.to(rows.amounts.device)
    return Batch(rows.amounts[chosen], rows.codes[chosen], None if rows.label is None else rows.label[chosen])


def _refuse_divergence(loss: float, epoch: int, settings: Training, name: str) -> None:
    if not math.isfinite(loss):
        raise TrainingDiverged(
            f"training of {name}, epoch {epoch} of {settings.epochs}",
            expected="a loss that is a finite number",
            found=str(loss),
            remedy=f"Lower the learning rate (it is {settings.learning_rate:g}) or look for extreme values.",
        )


class _Descent:
    """One optimiser with its schedule and its running average of the weights."""

    def __init__(self, network: Network, settings: Training, steps_an_epoch: int) -> None:
        self.parameters = list(network.parameters())
        self.settings = settings
        self.steps = steps_an_epoch * settings.epochs
        self.done = 0
        # Decay pulls weights to zero; on a bias or a learned σ it would only shift the answer.
        matrices = [p for p in self.parameters if p.ndim > 1]
        vectors = [p for p in self.parameters if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": settings.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
        )
        self.average = [p.detach().clone() for p in self.parameters]

    def step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        if self.settings.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_clip)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * self._rate()
        self.optimizer.step()
        self.done += 1
        self._average()

    def _rate(self) -> float:
        if self.settings.schedule == "constant":
            return 1.0
        warm = max(1, round(0.1 * self.steps))
        if self.done < warm:
            return (self.done + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (self.done - warm) / max(1, self.steps - warm)))

    def _average(self) -> None:
        # Early on the average follows closely, or short runs would still hold the random start.
        keep = min(self.settings.averaging, self.done / (self.done + 10))
        if self.settings.averaging:
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - keep)

    def finish(self) -> None:
        if self.settings.averaging:
            with torch.no_grad():
                for parameter, mean in zip(self.parameters, self.average, strict=True):
                    parameter.copy_(mean)


# ---- Weights as arrays -----------------------------------------------------------------------------------


def to_arrays(network: Network) -> dict[str, np.ndarray]:
    """Every weight by name, float32, in memory of its own."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in network.state_dict().items()}


def from_arrays(shape: Shape, weights: dict[str, np.ndarray], device: str) -> Network:
    """The network that holds these weights."""
    network = Network(shape)
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
    return network.to(device)
