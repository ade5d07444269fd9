"""How likely a variational auto-encoder finds rows: bounds on the log-likelihood of some of their columns.

The bounds hold for any choice of columns, for the encoder, which sees all that the network models, only
proposes where in the latent space to look: every proposal gives a bound.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models import network as nw

# A logit of this size is a probability of exactly zero, and stays a finite number.
_NEVER = -1e30


class ColumnLikelihood:
    """log p(columns | latent) of a network, laid out for speed: rows of a table are its last dimension.

    Amounts are Gaussian with the network's learned standard deviations, in units of the encoded column; codes
    are categorical. Codes are filled up to the same number of categories, with impossible ones, so that one
    call serves all of them.
    """

    def __init__(self, network: nw.Network, columns: Sequence[int]) -> None:
        """`columns`: positions among the network's amounts and then codes."""
        shape, output = network.shape, network.output
        sizes = [shape.codes[i - shape.amounts] for i in columns if i >= shape.amounts]
        starts = shape.amounts + np.cumsum([0, *shape.codes])
        self.network = network
        self.amounts = [i for i in columns if i < shape.amounts]
        self.codes = [i - shape.amounts for i in columns if i >= shape.amounts]
        self.categories = max(sizes, default=0)
        weight = output.weight.new_zeros(self.categories, len(sizes), shape.decoder_units)
        bias = output.bias.new_full((self.categories, len(sizes)), _NEVER)
        for place, (code, size) in enumerate(zip(self.codes, sizes, strict=True)):
            rows = slice(int(starts[code]), int(starts[code]) + size)
            weight[:size, place], bias[:size, place] = output.weight[rows], output.bias[rows]
        self.weight = torch.cat([output.weight[self.amounts], weight.flatten(0, 1)])
        self.bias = torch.cat([output.bias[self.amounts], bias.flatten()])[:, None]
        log_sigma = network.log_sigma[self.amounts]
        self.precision = torch.exp(-log_sigma)[:, None]
        self.constant = -(log_sigma.sum() + 0.5 * math.log(2 * math.pi) * len(self.amounts))

    def __call__(self, batch: nw.Batch, latent: Tensor) -> Tensor:
        """(n,) summed over the columns; latent is (n, latent_dim)."""
        decoder = self.network.decoder
        hidden = functional.silu(torch.addmm(decoder.bias[:, None], decoder.weight, latent.T))
        output = torch.addmm(self.bias, self.weight, hidden)
        scaled = (batch.amounts.T[self.amounts] - output[: len(self.amounts)]) * self.precision
        return self.constant - 0.5 * (scaled**2).sum(dim=0) - self._surprise(batch, output)

    def _surprise(self, batch: nw.Batch, output: Tensor) -> Tensor:
        """(n,) −log p(observed codes)."""
        if not self.codes:
            return output.new_zeros(output.shape[1])
        logits = output[len(self.amounts) :].view(self.categories, len(self.codes), -1)
        observed = logits.gather(0, batch.codes.T[self.codes][None])[0]
        return (logits.logsumexp(dim=0) - observed).sum(dim=0)


def negative_elbo(columns: ColumnLikelihood, batch: nw.Batch) -> Tensor:
    """(n,) KL(q ‖ p) − log p(columns | latent mean).

    The evidence lower bound (Kingma and Welling 2014, arXiv 1312.6114, eq. 3), its expectation taken at the
    mean of q, so that no number is drawn.
    """
    mean, log_variance = columns.network.encode(columns.network.inputs(batch))
    divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(dim=1)
    return divergence - columns(batch, mean)


def importance_weighted_bound(columns: ColumnLikelihood, batch: nw.Batch, noise: Tensor) -> Tensor:
    """(n,) log of the mean of p(columns | z) p(z) / q(z) over z = mean + noise · standard deviation of q.

    `noise` (K, latent_dim) holds the same standard normal numbers for every row, so that a row's bound
    depends on that row alone. With one sample the bound is a sampled ELBO, and it tightens with more (Burda,
    Grosse and Salakhutdinov 2016, arXiv 1509.00519, eq. 8).
    """
    mean, log_variance = columns.network.encode(columns.network.inputs(batch))
    spread = torch.exp(log_variance / 2)
    weights = []
    for drawn in noise:
        latent = mean + spread * drawn
        # log p(z) − log q(z) without what is the same for all z; the normal densities' constants cancel.
        prior = 0.5 * ((drawn**2).sum() - (latent**2).sum(dim=1))
        weights.append(columns(batch, latent) + prior)
    bound = torch.logsumexp(torch.stack(weights), dim=0) - math.log(len(noise))
    return bound + 0.5 * log_variance.sum(dim=1)


def fixed_noise(samples: int, latent_dim: int, seed: int) -> np.ndarray:
    """(samples, latent_dim) float32 standard normal numbers, the same for the same seed."""
    return np.random.default_rng(seed).standard_normal((samples, latent_dim), dtype=np.float32)
