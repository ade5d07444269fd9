"""How likely a variational auto-encoder finds rows: bounds on the log-likelihood of some of their columns.

The bounds hold for any choice of columns, for the encoder, which sees all that the network models, only
proposes where in the latent space to look: every proposal gives a bound.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models import network as nw

# A logit of this size is a probability of exactly zero, and stays a finite number.
_NEVER = -1e30
_LOG2_E = math.log2(math.e)


class Rows(NamedTuple):
    """Encoded rows as likelihoods take them; networks of one shape share them.

    Attributes:
        inputs: (n, width) of the encoder. amounts: (a, 1, n) those whose likelihood is asked for.
        places: (1, c, 1, n) int64, the category of each such code.
    """

    inputs: Tensor
    amounts: Tensor
    places: Tensor


class ColumnLikelihood:
    """log p(columns | latent) of a network, laid out for speed.

    Amounts are Gaussian with the network's learned standard deviations, in units of the encoded column; codes
    are categorical. Codes are filled up to the same number of categories, with impossible ones, so that one
    call serves all of them.
    """

    def __init__(self, network: nw.Network, columns: Sequence[int]) -> None:
        """`columns`: positions among the network's amounts and then codes."""
        shape, output = network.shape, network.output
        self.network, self.encode = network, nw.FoldedEncoder(network)
        sizes = [shape.codes[i - shape.amounts] for i in columns if i >= shape.amounts]
        starts = shape.amounts + np.cumsum([0, *shape.codes])
        self.amounts = [i for i in columns if i < shape.amounts]
        self.codes = [i - shape.amounts for i in columns if i >= shape.amounts]
        self.categories = max(sizes, default=0)
        weight = output.weight.new_zeros(self.categories, len(sizes), shape.decoder_units)
        bias = output.bias.new_full((self.categories, len(sizes)), _NEVER)
        for place, (code, size) in enumerate(zip(self.codes, sizes, strict=True)):
            rows = slice(int(starts[code]), int(starts[code]) + size)
            weight[:size, place], bias[:size, place] = output.weight[rows], output.bias[rows]
        self.decode = nw.Layer(network.decoder.weight, network.decoder.bias, "swish")
        self.output = nw.Layer(
            torch.cat([output.weight[self.amounts], weight.flatten(0, 1)]),
            torch.cat([output.bias[self.amounts], bias.flatten()]),
            "none",
        )
        log_sigma = network.log_sigma[self.amounts]
        self.precision = torch.exp(-log_sigma)[:, None, None]
        self.constant = -(log_sigma.sum() + 0.5 * math.log(2 * math.pi) * len(self.amounts))

    def rows(self, batch: nw.Batch) -> Rows:
        """The rows as this likelihood, and those of other networks for the same columns, take them."""
        amounts, places = batch.amounts.T[self.amounts], batch.codes.T[self.codes]
        return Rows(self.network.inputs(batch), amounts[:, None], places[None, :, None])

    def __call__(self, rows: Rows, latent: Tensor) -> Tensor:
        """(k, n) summed over the columns, of k latents a row; latent is (k, n, latent_dim)."""
        output = self.output(self.decode(latent.flatten(0, 1)))
        # What follows goes through columns: they have to lie in one piece.
        columns = output.T.contiguous().view(-1, *latent.shape[:2])
        scaled = rows.amounts - columns[: len(self.amounts)]
        squares = scaled.mul_(self.precision).square_().sum(dim=0)
        return self.constant - 0.5 * squares - self._surprise(rows, columns[len(self.amounts) :])

    def _surprise(self, rows: Rows, output: Tensor) -> Tensor:
        """(k, n) −log p(observed codes); overwrites the logits, output (categories · codes, k, n)."""
        if not self.codes:
            return output.new_zeros(output.shape[1:])
        logits = output.view(self.categories, len(self.codes), *output.shape[1:])
        places = rows.places.expand(-1, -1, logits.shape[2], -1)
        observed = logits.gather(0, places)[0].sum(dim=0)
        # logsumexp in place: fresh arrays would cost more than what is computed. In powers of two: exp takes
        # many times as long as exp2 for what comes out as zero.
        highest = logits.amax(dim=0)
        total = logits.sub_(highest).mul_(_LOG2_E).exp2_().sum(dim=0).log_().add_(highest)
        return total.sum(dim=0) - observed


def negative_elbo(columns: ColumnLikelihood, rows: Rows) -> Tensor:
    """(n,) KL(q ‖ p) − log p(columns | latent mean).

    The evidence lower bound (Kingma and Welling 2014, arXiv 1312.6114, eq. 3), its expectation taken at the
    mean of q, so that no number is drawn.
    """
    mean, log_variance = columns.encode(rows.inputs)
    divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(dim=1)
    return divergence - columns(rows, mean[None])[0]


def importance_weighted_bound(columns: ColumnLikelihood, rows: Rows, noise: Tensor) -> Tensor:
    """(n,) log of the mean of p(columns | z) p(z) / q(z) over z = mean + noise · standard deviation of q.

    `noise` (K, latent_dim) holds the same standard normal numbers for every row, so that a row's bound
    depends on that row alone. With one sample the bound is a sampled ELBO, and it tightens with more (Burda,
    Grosse and Salakhutdinov 2016, arXiv 1509.00519, eq. 8).
    """
    mean, log_variance = columns.encode(rows.inputs)
    # All samples at once: (K, n, latent_dim).
    latent = mean + torch.exp(log_variance / 2) * noise[:, None]
    # log p(z) − log q(z) without what is the same for all z; the normal densities' constants cancel.
    prior = 0.5 * ((noise**2).sum(dim=1)[:, None] - (latent**2).sum(dim=2))
    bound = torch.logsumexp(columns(rows, latent) + prior, dim=0) - math.log(len(noise))
    return bound + 0.5 * log_variance.sum(dim=1)


def fixed_noise(samples: int, latent_dim: int, seed: int) -> np.ndarray:
    """(samples, latent_dim) float32 standard normal numbers, the same for the same seed."""
    return np.random.default_rng(seed).standard_normal((samples, latent_dim), dtype=np.float32)
