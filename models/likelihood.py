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

_LN2, _LOG2_E = math.log(2), math.log2(math.e)


class Rows(NamedTuple):
    """Encoded rows as likelihoods take them; networks of one shape share them.

    Attributes:
        batch: (n) what the encoder sees. amounts: (a, 1, n) those whose likelihood is asked for.
        places: (c, 1, n) int64, where the category of each such code stands among all of theirs.
    """

    batch: nw.Batch
    amounts: Tensor
    places: Tensor


class ColumnLikelihood:
    """log p(columns | latent) of a network, laid out for speed.

    Amounts are Gaussian with the network's learned standard deviations, in units of the encoded column; codes
    are categorical. All goes through columns that lie in one piece, mostly in place: fresh arrays would cost
    more than what is computed.
    """

    def __init__(self, network: nw.Network, columns: Sequence[int]) -> None:
        """`columns`: positions among the network's amounts and then codes."""
        shape, output = network.shape, network.output
        self.encode = nw.FoldedEncoder(network)
        self.amounts = [i for i in columns if i < shape.amounts]
        self.codes = [i - shape.amounts for i in columns if i >= shape.amounts]
        self.sizes = [shape.codes[code] for code in self.codes]
        self.offsets = nw.offsets(self.sizes).to(output.weight.device)
        starts = (shape.amounts + network.offsets[self.codes]).tolist()
        logits = [
            k for start, size in zip(starts, self.sizes, strict=True) for k in range(start, start + size)
        ]
        # Logits in powers of two: exp takes many times as long as exp2 for what comes out as zero.
        unit = output.weight.new_tensor([1.0] * len(self.amounts) + [_LOG2_E] * len(logits))
        kept = [*self.amounts, *logits]
        self.decode = nw.Layer(network.decoder.weight, network.decoder.bias, "swish")
        self.output = nw.ColumnLayer(output.weight[kept] * unit[:, None], output.bias[kept] * unit)
        log_sigma = network.log_sigma[self.amounts]
        self.precision = torch.exp(-log_sigma)[:, None, None]
        self.constant = -(log_sigma.sum() + 0.5 * math.log(2 * math.pi) * len(self.amounts))

    def rows(self, batch: nw.Batch) -> Rows:
        """The rows as this likelihood, and those of other networks for the same columns, take them."""
        amounts, codes = batch.amounts.T[self.amounts], batch.codes.T[self.codes]
        return Rows(batch, amounts[:, None], (codes + self.offsets[:, None])[:, None])

    def __call__(self, rows: Rows, latent: Tensor) -> Tensor:
        """(k, n) summed over the columns, of k latents a row; latent is (k, n, latent_dim)."""
        amounts, surprises = self.deviations(rows, latent)
        squares = amounts.mul_(self.precision).square_().sum(dim=0)
        return self.constant - 0.5 * squares - surprises.sum(dim=0)

    def deviations(self, rows: Rows, latent: Tensor) -> tuple[Tensor, Tensor]:
        """(a, k, n) value − reconstruction of the amounts, and (c, k, n) −log p(observed) of the codes."""
        found = self._decoded(latent)
        amounts = torch.sub(rows.amounts, found[: len(self.amounts)], out=found[: len(self.amounts)])
        surprises = self._surprises(rows, found[len(self.amounts) :])
        unbounded = torch.isinf(surprises)
        if unbounded.any():
            exact = self._unlikely(rows, self._decoded(latent)[len(self.amounts) :])
            surprises = torch.where(unbounded, exact, surprises)
        return amounts, surprises

    def _decoded(self, latent: Tensor) -> Tensor:
        """(amounts + categories, k, n)."""
        return self.output(self.decode(latent.flatten(0, 1))).view(-1, *latent.shape[:2])

    def _relative(self, rows: Rows, logits: Tensor) -> list[Tensor]:
        """(categories, k, n) of each code: logits less that of the observed category; overwrites them."""
        observed = logits.gather(0, rows.places.expand(-1, logits.shape[1], -1))
        return [part.sub_(own) for part, own in zip(logits.split(self.sizes), observed, strict=True)]

    def _surprises(self, rows: Rows, logits: Tensor) -> Tensor:
        """(c, k, n) −log p(observed) of each code, never below zero; infinite where it is beyond 88."""
        if not self.codes:
            return logits.new_zeros(0, *logits.shape[1:])
        # The observed category adds exactly one, so that no sum is zero and none needs a maximum.
        sums = [part.exp2_().sum(dim=0) for part in self._relative(rows, logits)]
        return torch.stack(sums).log2_().mul_(_LN2)

    def _unlikely(self, rows: Rows, logits: Tensor) -> Tensor:
        """The same by a sum that cannot overflow."""
        return torch.stack([part.mul_(_LN2).logsumexp(dim=0) for part in self._relative(rows, logits)])


def deviations(columns: ColumnLikelihood, rows: Rows) -> Tensor:
    """(a + c, n) how far each column is from its reconstruction at the latent mean.

    Amounts: value − reconstruction, signed. Codes: the deviance residual √(−2 log p(observed)), at least
    zero; like a standardised amount its square is twice a negative log-likelihood.
    """
    mean, _ = columns.encode(rows.batch)
    amounts, surprises = columns.deviations(rows, mean[None])
    return torch.cat([amounts, surprises.mul_(2).sqrt_()])[:, 0]


def negative_elbo(columns: ColumnLikelihood, rows: Rows) -> Tensor:
    """(n,) KL(q ‖ p) − log p(columns | latent mean).

    The evidence lower bound (Kingma and Welling 2014, arXiv 1312.6114, eq. 3), its expectation taken at the
    mean of q, so that no number is drawn.
    """
    mean, log_variance = columns.encode(rows.batch)
    divergence = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(dim=1)
    return divergence - columns(rows, mean[None])[0]


def importance_weighted_bound(columns: ColumnLikelihood, rows: Rows, noise: Tensor) -> Tensor:
    """(n,) log of the mean of p(columns | z) p(z) / q(z) over z = mean + noise · standard deviation of q.

    `noise` (K, latent_dim) holds the same standard normal numbers for every row, so that a row's bound
    depends on that row alone. With one sample the bound is a sampled ELBO, and it tightens with more (Burda,
    Grosse and Salakhutdinov 2016, arXiv 1509.00519, eq. 8).
    """
    mean, log_variance = columns.encode(rows.batch)
    # All samples at once: (K, n, latent_dim).
    latent = mean + torch.exp(log_variance / 2) * noise[:, None]
    # log p(z) − log q(z) without what is the same for all z; the normal densities' constants cancel.
    prior = 0.5 * ((noise**2).sum(dim=1)[:, None] - (latent**2).sum(dim=2))
    bound = torch.logsumexp(columns(rows, latent) + prior, dim=0) - math.log(len(noise))
    return bound + 0.5 * log_variance.sum(dim=1)


def fixed_noise(samples: int, latent_dim: int, seed: int) -> np.ndarray:
    """(samples, latent_dim) float32 standard normal numbers, the same for the same seed."""
    return np.random.default_rng(seed).standard_normal((samples, latent_dim), dtype=np.float32)
