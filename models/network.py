"""The variational auto-encoder in torch, and the one trainer for everything that is built on it.

Every random number comes from one `torch.Generator` on the CPU: torch's global seed is neither read nor
moved, and another device sees the same noise.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from creditflow.errors import TrainingDiverged

Schedule = Literal["cosine", "constant"]

LOG_VARIANCE = (-8.0, 4.0)
# Standard deviation, about 1, of the input scalings that set the members of an ensemble apart.
MEMBER_SPREAD = 0.5
# A smaller move of a unit's input counts as none: the ratio of two such numbers is rounding error.
STILL = 1e-6


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
    """Sizes of a network: `amounts` numbers, and one softmax for each of `codes` (its categories).

    `members` networks share their weights; the decoder rebuilds the amounts at the positions
    `reconstructed` (None: all of them) and every code, and with `labelled` it is told the label.
    """

    amounts: int
    codes: tuple[int, ...]
    hidden_units: int
    hidden_layers: int
    decoder_units: int
    latent_dim: int
    head: bool
    members: int = 1
    reconstructed: tuple[int, ...] | None = None
    labelled: bool = False

    @property
    def rebuilt(self) -> tuple[int, ...]:
        """Positions of the amounts that the decoder rebuilds."""
        return tuple(range(self.amounts)) if self.reconstructed is None else self.reconstructed

    @property
    def width(self) -> int:
        """Inputs of the encoder: the amounts and every category one-hot."""
        return self.amounts + sum(self.codes)


class Batch(NamedTuple):
    """Encoded rows: amounts (n, a) float32, codes (n, c) int64, a classifier's label (n,) float32."""

    amounts: Tensor
    codes: Tensor
    label: Tensor | None = None

    def repeat(self, members: int) -> Self:
        """Every row `members` times in a row, as the encoder gives its latents."""
        if members == 1:
            return self
        parts = (None if part is None else part.repeat_interleave(members, dim=0) for part in self)
        return type(self)(*parts)


class Network(nn.Module):
    """Encoder → latent mean and log-variance → decoder, with an optional head on the latent means.

    The encoder sees `width` inputs; the decoder gives a mean for each amount, with one learned standard
    deviation an amount, and logits for each category (Kingma and Welling 2014, arXiv 1312.6114, with a
    likelihood a column). A decoder that is told the label (p(x | z, y) of Kingma et al. 2014, arXiv
    1406.5298, section 2.1) leaves the latents free of what the label explains anyway.

    Several members share every matrix and differ in a scaling of their inputs, their biases and their heads
    (the parameter-efficient ensemble of Gorishniy et al. 2025, TabM, arXiv 2410.24210, section 3.4). A row
    then has one latent a member: wherever n rows go in, members · n latents come out, row by row and within
    a row member by member.
    """

    scale: Tensor | None

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        single = shape.members == 1
        sizes = [shape.width, *[shape.hidden_units] * shape.hidden_layers]
        self.encoder = nn.ModuleList(_linear(a, b, bias=single) for a, b in pairwise(sizes))
        self.mean = _linear(sizes[-1], shape.latent_dim)
        self.log_variance = _linear(sizes[-1], shape.latent_dim)
        self.decoder = _linear(shape.latent_dim + shape.labelled, shape.decoder_units)
        self.output = _linear(shape.decoder_units, len(shape.rebuilt) + sum(shape.codes))
        self.log_sigma = nn.Parameter(torch.zeros(len(shape.rebuilt), dtype=torch.float32))
        self.head = _linear(shape.latent_dim, shape.members) if shape.head else None
        self.register_parameter("scale", None if single else _empty(shape.members, shape.width))
        self.biases = nn.ParameterList(_empty(shape.members, b) for b in ([] if single else sizes[1:]))
        self.register_buffer("offsets", offsets(shape.codes), persistent=False)

    def initialise(self, generator: torch.Generator, base_log_odds: float = 0.0) -> None:
        """torch's own default for linear layers, uniform within ±1/√inputs, from `generator`.

        The head starts at the base rate, so that the first steps do not go into learning it.
        """
        with torch.no_grad():
            for layer in (m for m in self.modules() if isinstance(m, nn.Linear)):
                bound = 1 / math.sqrt(layer.in_features)
                for parameter in layer.parameters():
                    parameter.uniform_(-bound, bound, generator=generator)
            if self.scale is not None:
                self.scale.normal_(1.0, MEMBER_SPREAD, generator=generator)
                for layer, bias in zip(self.encoder, self.biases, strict=True):
                    bound = 1 / math.sqrt(layer.in_features)
                    bias.uniform_(-bound, bound, generator=generator)
            if self.head is not None:
                self.head.bias.fill_(base_log_odds)

    def inputs(self, batch: Batch) -> Tensor:
        """(n, width): the amounts beside the one-hot codes."""
        onehot = batch.amounts.new_zeros(len(batch.amounts), sum(self.shape.codes))
        onehot.scatter_(1, batch.codes + self.offsets, 1.0)
        return torch.cat([batch.amounts, onehot], dim=1)

    def encode(self, inputs: Tensor, drop: Callable[[Tensor], Tensor] = lambda x: x) -> tuple[Tensor, Tensor]:
        """Latent mean and log-variance, both (members · n, latent_dim)."""
        hidden = drop(functional.relu(self._first(inputs)))
        for depth, layer in enumerate(self.encoder[1:], 1):
            hidden = layer(hidden)
            if self.scale is not None:
                hidden = hidden.view(-1, *self.biases[depth].shape).add(self.biases[depth]).flatten(0, 1)
            hidden = drop(functional.relu(hidden))
        return self.mean(hidden), self.log_variance(hidden).clamp(*LOG_VARIANCE)

    def _first(self, inputs: Tensor) -> Tensor:
        """(members · n, hidden_units) the first layer before its ReLU."""
        layer = self.encoder[0]
        if self.scale is None:
            return layer(inputs)
        # Scaling the weights is scaling the inputs, on far fewer numbers.
        weights = (layer.weight * self.scale[:, None]).flatten(0, 1)
        return functional.linear(inputs, weights, self.biases[0].flatten()).view(-1, self.shape.hidden_units)

    def decode(self, latent: Tensor, label: Tensor | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Mean of each rebuilt amount (n, a), and logits (n, k) of each coded column."""
        if self.shape.labelled:
            assert label is not None  # noqa: S101 - such a network decodes in training alone
            latent = torch.cat([latent, label[:, None]], dim=1)
        output = self.output(functional.silu(self.decoder(latent)))
        amounts, *codes = output.split([len(self.shape.rebuilt), *self.shape.codes], dim=1)
        return amounts, tuple(codes)

    def targets(self, batch: Batch) -> Tensor:
        """(n, a) the amounts that `decode` should give back."""
        if self.shape.reconstructed is None:
            return batch.amounts
        return batch.amounts[:, list(self.shape.reconstructed)]

    def logits(self, mean: Tensor) -> Tensor:
        """(n, members) log-odds of the second class, from the latent means."""
        assert self.head is not None  # noqa: S101 - only a classifier asks
        a_member = mean.view(-1, self.shape.members, self.shape.latent_dim)
        return (a_member * self.head.weight).sum(dim=2) + self.head.bias


class _Linear(nn.Linear):
    """A linear layer whose weights are yet to be set.

    nn.Linear alone would draw them from torch's global generator. torch's own `skip_init` would not, but it
    imports sympy, which takes longer than a network's scores.
    """

    def reset_parameters(self) -> None:
        """Leaves them as they are."""


def _linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    return _Linear(inputs, outputs, bias=bias, dtype=torch.float32)


def _empty(*sizes: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(sizes, dtype=torch.float32))


def offsets(sizes: Sequence[int]) -> Tensor:
    """Where each code's categories begin among those of all, (codes,) int64."""
    return torch.tensor([sum(sizes[:i]) for i in range(len(sizes))], dtype=torch.int64)


# ---- Losses ----------------------------------------------------------------------------------------------


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
    amounts, codes = network.decode(latent, batch.label)
    scaled = (network.targets(batch) - amounts) * torch.exp(-network.log_sigma)
    gaussian = (scaled**2 / 2 + network.log_sigma).sum(dim=1)
    return (gaussian + surprises(batch, codes).sum(dim=1)).mean()


def squared_reconstruction(network: Network, batch: Batch, latent: Tensor) -> Tensor:
    """Mean squared error over rows and columns; every column is an amount."""
    amounts, _ = network.decode(latent, batch.label)
    return functional.mse_loss(amounts, network.targets(batch))


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) ‖ N(0, 1)) summed over latent dimensions, mean over rows (ibid., appendix B)."""
    return (-0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(dim=1)).mean()


@dataclass(frozen=True)
class Objective:
    """Cross-entropy + elbo_weight · (reconstruction + beta · KL); of an ensemble the mean over members.

    Each member is trained on its own cross-entropy: averaged before the loss they would lean on each other.
    """

    likelihood: Literal["mixed", "gaussian"]
    beta: float
    elbo_weight: float
    dropout: float
    input_noise: float

    def __call__(self, network: Network, batch: Batch, noise: "Noise") -> Tensor:
        seen = batch
        if self.input_noise:
            # A code is a category or it is not: noise belongs to the amounts.
            seen = batch._replace(amounts=batch.amounts + self.input_noise * noise.normal(batch.amounts))
        mean, log_variance = network.encode(
            network.inputs(seen), lambda hidden: noise.drop(hidden, self.dropout)
        )
        latent = mean + torch.exp(log_variance / 2) * noise.normal(mean)
        reconstruct = mixed_reconstruction if self.likelihood == "mixed" else squared_reconstruction
        rebuilt = reconstruct(network, batch.repeat(network.shape.members), latent)
        loss = rebuilt + self.beta * divergence(mean, log_variance)
        if batch.label is None:
            return loss
        logits = network.logits(mean)
        label = batch.label[:, None].expand_as(logits)
        fit = functional.binary_cross_entropy_with_logits(logits, label)
        return fit + self.elbo_weight * loss


@dataclass(frozen=True)
class Noise:
    """All random numbers of a training run."""

    generator: torch.Generator

    def normal(self, like: Tensor) -> Tensor:
        drawn = torch.empty(like.shape, dtype=like.dtype).normal_(generator=self.generator)
        return drawn.to(like.device)

    def drop(self, hidden: Tensor, share: float) -> Tensor:
        """Dropout, `share` rounded to a 65,536th; torch's own takes no generator."""
        if share == 0:
            return hidden
        # One number of 64 bits decides over four units: drawing one for each took a third of the fit.
        drawn = torch.empty(-(-hidden.numel() // 4), dtype=torch.int64)
        drawn.random_(-(2**63), None, generator=self.generator)
        kept = drawn.view(torch.int16)[: hidden.numel()] >= round(share * 2**16) - 2**15
        kept = kept.view(hidden.shape).to(hidden.device, hidden.dtype)
        return hidden * kept.mul_(1 / (1 - share))

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
        matrices = [m.weight for m in network.modules() if isinstance(m, nn.Linear)]
        chosen = set(map(id, matrices))
        vectors = [p for p in self.parameters if id(p) not in chosen]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": settings.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
            fused=True,
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


# ---- Folded for scoring ----------------------------------------------------------------------------------


class Layer:
    """A trained linear layer with its activation, laid out for products of rows (n, inputs).

    On the CPU the products are oneDNN's, with the activation in the same pass: they use wider registers than
    torch's default on many processors, which makes them twice as fast. The operator is the one that torch's
    own compiler writes into its programs.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, activation: Literal["none", "relu", "swish"]
    ) -> None:
        self.bias, self.activation = bias, activation
        self.packed = _by_onednn(weight)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, None) if self.packed else weight

    def __call__(self, rows: Tensor) -> Tensor:
        if self.packed:
            return torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, self.activation, [], "")
        return _ACTIVATIONS[self.activation](functional.linear(rows, self.weight, self.bias))


class ColumnLayer:
    """A trained linear layer that gives its outputs as columns (outputs, n) of rows (n, inputs).

    Weights and rows change places in the product, so that nothing has to be turned over after it.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.by_onednn = _by_onednn(weight)
        self.weight, self.bias = weight.contiguous(), bias[:, None]

    def __call__(self, rows: Tensor) -> Tensor:
        if self.by_onednn:
            found = torch.ops.mkldnn._linear_pointwise(self.weight, rows, None, "none", [], "")
        else:
            found = self.weight @ rows.T
        return found.add_(self.bias)


def _by_onednn(weight: Tensor) -> bool:
    # oneDNN knows no product of nothing.
    return weight.device.type == "cpu" and weight.numel() > 0 and torch.backends.mkldnn.is_available()


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": functional.relu,
    "swish": functional.silu,
}


class Member(NamedTuple):
    """One member as a plain ReLU network: layers of (weight, bias), and the layer that gives its log-odds."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    head: tuple[Tensor, Tensor]

    def laid_out(self) -> tuple[Layer, ...]:
        return (*(Layer(*layer, "relu") for layer in self.layers), Layer(*self.head, "none"))


class Folded:
    """Trained classifiers as their score needs them: log-odds of (n, width) inputs, averaged over members.

    `networks` are of one shape; the members of all of them count alike.

    Scalings are folded into the first weights, and latent mean, head and the average over members into one
    vector a member: a row costs one product with each matrix and nothing else. Decoder and log-variances
    play no part. What is left is piecewise linear.
    """

    def __init__(self, networks: Sequence[Network]) -> None:
        self.network = networks[0]
        each = self.network.shape.members
        share = 1 / (each * len(networks))
        self.members = tuple(_member(net, k, share) for net in networks for k in range(each))
        self.ready = [member.laid_out() for member in self.members]

    def logit(self, inputs: Tensor) -> Tensor:
        """(n,) log-odds of the second class."""
        total = inputs.new_zeros(len(inputs), 1)
        for layers in self.ready:
            hidden = inputs
            for layer in layers:
                hidden = layer(hidden)
            total += hidden
        return total.squeeze(1)

    @cached_property
    def backwards(self) -> list["Backwards"]:
        """Laid out for those who ask for contributions: scores need none of it."""
        return [Backwards(member) for member in self.members]

    def contributions(self, inputs: Tensor, reference: Tensor) -> Tensor:
        """(n, width) what each input adds to the log-odds of `reference` (width,).

        DeepLIFT with the Rescale rule (Shrikumar, Greenside and Kundaje 2017, ICML, section 3.5.1): through a
        ReLU whose input moved by Δz and whose output by Δh from the reference, contributions are carried by
        the factor Δh / Δz. They sum to the difference in log-odds (section 3.1).
        """
        total = torch.zeros_like(inputs)
        for layers, member in zip(self.backwards, self.members, strict=True):
            total += layers.multipliers(inputs, reference[None], member.head[0])
        return total.mul_(inputs - reference)


def _member(network: Network, k: int, share: float) -> Member:
    """Member k with `share` of the average, folded in float64 and rounded once."""
    assert network.head is not None  # noqa: S101 - only a classifier is folded
    single = network.scale is None
    weights = [layer.weight.double() for layer in network.encoder]
    if network.scale is not None:
        weights[0] = weights[0] * network.scale[k].double()
    biases = [layer.bias for layer in network.encoder] if single else [bias[k] for bias in network.biases]
    head = network.head.weight[k].double() * share
    vector = head @ network.mean.weight.double()
    constant = head @ network.mean.bias.double() + network.head.bias[k].double() * share
    layers = zip((w.float() for w in weights), (b.float() for b in biases), strict=True)
    return Member(tuple(layers), (vector.float()[None], constant.float()[None]))


class FoldedEncoder:
    """The encoder of a trained network of one member: latent mean and log-variance from one product.

    A one-hot code picks a column of the first weights: adding those up takes half as long as the product.
    """

    def __init__(self, network: Network) -> None:
        first, *others = network.encoder
        amounts = network.shape.amounts
        self.offsets, self.latent_dim = network.offsets, network.shape.latent_dim
        self.amounts = Layer(first.weight[:, :amounts].contiguous(), first.bias, "none")
        self.categories = first.weight[:, amounts:].T.contiguous()
        last = (network.mean, network.log_variance)
        joined = (torch.cat([part.weight for part in last]), torch.cat([part.bias for part in last]))
        hidden = [Layer(layer.weight, layer.bias, "relu") for layer in others]
        self.layers = [*hidden, Layer(*joined, "none")]

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Latent mean and log-variance, both (n, latent_dim)."""
        hidden = self.amounts(batch.amounts)
        if len(self.offsets):
            hidden += functional.embedding_bag(batch.codes + self.offsets, self.categories, mode="sum")
        hidden.relu_()
        for layer in self.layers:
            hidden = layer(hidden)
        mean, log_variance = hidden.split(self.latent_dim, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCE)


class Backwards:
    """A member's layers forwards without their ReLU, and backwards as carriers of contributions."""

    def __init__(self, member: Member) -> None:
        self.forwards = [Layer(*layer, "none") for layer in member.layers]
        self.carriers = [Layer(weight.T.contiguous(), None, "none") for weight, _ in member.layers]

    def multipliers(self, inputs: Tensor, reference: Tensor, head: Tensor) -> Tensor:
        """(n, width) factors that turn each input's distance from the reference into its contribution."""
        factors, hidden, known = [], inputs, reference
        for layer in self.forwards:
            before, known_before = layer(hidden), layer(known)
            hidden, known = before.relu(), known_before.relu()
            factors.append(_rescale(before, hidden, known_before, known))
        carried = factors[-1].mul_(head)
        for carrier, factor in zip(reversed(self.carriers[1:]), reversed(factors[:-1]), strict=True):
            carried = carrier(carried).mul_(factor)
        return self.carriers[0](carried)


def _rescale(before: Tensor, after: Tensor, known_before: Tensor, known_after: Tensor) -> Tensor:
    """Δh / Δz of each unit; overwrites `before`."""
    slope = (before > 0).to(before.dtype)
    moved = before.sub_(known_before)
    # Where nothing moved the ratio is 0 / 0 and its limit is the slope.
    still = moved.abs() < STILL
    return torch.where(still, slope, (after - known_after).div_(moved))


# ---- Weights as arrays -----------------------------------------------------------------------------------


def to_arrays(network: Network) -> dict[str, np.ndarray]:
    """Every weight by name, float32, in memory of its own."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in network.state_dict().items()}


def from_arrays(shape: Shape, weights: dict[str, np.ndarray], device: str) -> Network:
    """The network that holds these weights."""
    network = Network(shape)
    network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
    return network.to(device)
