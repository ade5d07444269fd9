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
# The logit of a category that never occurs; times 0 it is 0, which minus infinity is not.
_NEVER = -1e30


class Rows(NamedTuple):
    """Encoded rows as likelihoods take them; networks of one shape share them.

    Attributes:
        batch: (n) what the encoder sees. amounts: (a, 1, n) those whose likelihood is asked for.
        observed: (c, w, 1, n) 1 at the observed category of each such code, 0 at the others, among the w of
            the code that has most.
    """

    batch: nw.Batch
    amounts: Tensor
    observed: Tensor


class ColumnLikelihood:
    """log p(columns | latent) of a network, laid out for speed.

    Amounts are Gaussian with the network's learned standard deviations, in units of the encoded column; codes
    are categorical, all filled up to one number of categories with some that never occur. All goes through
    columns that lie in one piece, mostly in place: fresh arrays would cost more than what is computed, and
    picking single numbers out of them more than multiplying all by 0 or 1.
    """

    def __init__(self, network: nw.Network, columns: Sequence[int]) -> None:
        """`columns`: positions among the network's amounts and then codes."""
        shape, output = network.shape, network.output
        self.encode = nw.FoldedEncoder(network)
        self.amounts = [i for i in columns if i < shape.amounts]
        self.codes = [i - shape.amounts for i in columns if i >= shape.amounts]
        self.width = max((shape.codes[code] for code in self.codes), default=0)
        self.decode = nw.Layer(network.decoder.weight, network.decoder.bias, "swish")
        parts = [(output.weight[self.amounts], output.bias[self.amounts])]
        starts = (shape.amounts + network.offsets[self.codes]).tolist()
        for code, start in zip(self.codes, starts, strict=True):
            kept = slice(start, start + shape.codes[code])
            parts.append(_filled(output.weight[kept], output.bias[kept], self.width))
        self.output = nw.ColumnLayer(*(torch.cat(part) for part in zip(*parts, strict=True)))
        log_sigma = network.log_sigma[self.amounts]
        self.precision = torch.exp(-log_sigma)[:, None, None]
        self.constant = -(log_sigma.sum() + 0.5 * math.log(2 * math.pi) * len(self.amounts))

    def rows(self, batch: nw.Batch) -> Rows:
        """The rows as this likelihood, and those of other networks for the same columns, take them."""
        categories = torch.arange(self.width, device=batch.codes.device)[:, None]
        observed = batch.codes.T[self.codes][:, None] == categories
        return Rows(batch, batch.amounts.T[self.amounts][:, None], observed.float()[:, :, None])

    def __call__(self, rows: Rows, latent: Tensor) -> Tensor:
        """(k, n) summed over the columns, of k latents a row; latent is (k, n, latent_dim)."""
        amounts, logits = self._decoded(rows, latent)
        found = self.constant - 0.5 * amounts.mul_(self.precision).square_().sum(dim=0)
        # The sums over categories are at least 1, so that the logarithm of all codes is one of their product.
        surprise = self._sums(rows, logits).prod(dim=0).log2_().mul_(_LN2)
        unbounded = torch.isinf(surprise)
        if unbounded.any():
            surprise = torch.where(unbounded, self._exact(rows, latent).sum(dim=0), surprise)
        return found.sub_(surprise)

    def deviations(self, rows: Rows, latent: Tensor) -> tuple[Tensor, Tensor]:
        """(a, k, n) value − reconstruction of the amounts, and (c, k, n) −log p(observed) of the codes."""
        amounts, logits = self._decoded(rows, latent)
        surprises = self._sums(rows, logits).log2_().mul_(_LN2)
        unbounded = torch.isinf(surprises)
        if unbounded.any():
            surprises = torch.where(unbounded, self._exact(rows, latent), surprises)
        return amounts, surprises

    def _decoded(self, rows: Rows, latent: Tensor) -> tuple[Tensor, Tensor]:
        """(a, k, n) value − reconstruction, and (c, w, k, n) logits in powers of two."""
        found = self.output(self.decode(latent.flatten(0, 1))).view(-1, *latent.shape[:2])
        amounts, logits = found.split([len(self.amounts), len(self.codes) * self.width])
        return torch.sub(rows.amounts, amounts, out=amounts), logits.unflatten(0, (-1, self.width or 1))

    def _relative(self, rows: Rows, logits: Tensor) -> Tensor:
        """(c, w, k, n) logits less that of the observed category; overwrites them."""
        return logits.sub_((logits * rows.observed).sum(dim=1, keepdim=True))

    def _sums(self, rows: Rows, logits: Tensor) -> Tensor:
        """(c, k, n) 1 / p(observed) of each code, never below 1; infinite where it is beyond 2^128."""
        # The observed category adds exactly one, so that no sum is zero and none needs a maximum.
        return self._relative(rows, logits).exp2_().sum(dim=1)

    def _exact(self, rows: Rows, latent: Tensor) -> Tensor:
        """(c, k, n) −log p(observed) by a sum that cannot overflow."""
        return self._relative(rows, self._decoded(rows, latent)[1]).mul_(_LN2).logsumexp(dim=1)


def _filled(weight: Tensor, bias: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """A code's part of the output layer, in powers of two, with `width` categories.

    exp takes many times as long as exp2 for what comes out as zero.
    """
    missing = width - len(bias)
    never = bias.new_full((missing,), _NEVER)
    return torch.cat([weight * _LOG2_E, weight.new_zeros(missing, weight.shape[1])]), torch.cat(
        [bias * _LOG2_E, never]
    )


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
    latent = torch.addcmul(mean, torch.exp(log_variance / 2), noise[:, None])
    # log p(z) − log q(z) without what is the same for all z; the normal densities' constants cancel.
    prior = 0.5 * ((noise**2).sum(dim=1)[:, None] - latent.square().sum(dim=2))
    bound = torch.logsumexp(columns(rows, latent) + prior, dim=0) - math.log(len(noise))
    return bound + 0.5 * log_variance.sum(dim=1)


def fixed_noise(samples: int, latent_dim: int, seed: int) -> np.ndarray:
    """(samples, latent_dim) float32 standard normal numbers, the same for the same seed."""
    return np.random.default_rng(seed).standard_normal((samples, latent_dim), dtype=np.float32)
