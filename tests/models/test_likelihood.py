import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import norm

from models import likelihood as lk
from models import network as nw

AMOUNTS, CODES = 2, (3, 2, 4)


def network(latent_dim: int = 1, seed: int = 0) -> nw.Network:
    """Two amounts and three codes; weights large enough that the latent matters."""
    shape = nw.Shape(AMOUNTS, CODES, 8, 1, 8, latent_dim, head=False)
    net = nw.Network(shape)
    net.initialise(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        net.decoder.weight.mul_(2)
        net.output.weight.mul_(3)
        net.log_sigma.copy_(torch.tensor([0.3, -0.5]))
    return net


def rows(count: int = 7, seed: int = 0) -> nw.Batch:
    rng = np.random.default_rng(seed)
    amounts = rng.normal(size=(count, AMOUNTS)).astype(np.float32)
    codes = np.column_stack([rng.integers(0, size, count) for size in CODES])
    return nw.Batch(torch.from_numpy(amounts), torch.from_numpy(codes))


def column_log_likelihoods(net: nw.Network, batch: nw.Batch, latent: torch.Tensor) -> np.ndarray:
    """(n, 5) column by column, as the definition has it."""
    decoded, logits = net.decode(latent)
    sigma = np.exp(net.log_sigma.double().numpy())
    amounts = norm.logpdf(batch.amounts.double().numpy(), decoded.double().numpy(), sigma)
    rows = np.arange(len(latent))
    codes = [
        found[rows, batch.codes[:, i]] - logsumexp(found, axis=1)
        for i, found in enumerate(part.double().numpy() for part in logits)
    ]
    return np.column_stack([amounts, *codes])


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


@settings(deadline=None, max_examples=25)
@given(st.sets(st.integers(0, 4), min_size=1), st.integers(0, 20))
def test_columns_add_up_to_their_densities(columns, seed):
    with torch.inference_mode():
        net, batch = network(seed=seed), rows(seed=seed)
        latent = torch.linspace(-2, 2, 7)[:, None]
        chosen = sorted(columns)
        columns = lk.ColumnLikelihood(net, chosen)
        found = columns(columns.rows(batch), latent[None])[0]
        expected = column_log_likelihoods(net, batch, latent)[:, chosen].sum(axis=1)
    assert found.numpy() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_a_category_that_is_near_impossible_stays_finite():
    net, batch = network(), rows()
    net.output.bias[AMOUNTS : AMOUNTS + 3] = torch.tensor([5e4, 0.0, -5e4])
    columns = lk.ColumnLikelihood(net, range(5))
    found = columns(columns.rows(batch), torch.zeros(1, 7, 1))
    assert torch.isfinite(found).all()


def test_what_is_too_unlikely_for_a_plain_sum_is_as_the_definition_has_it():
    net, batch = network(), rows()
    usual = lk.ColumnLikelihood(net, range(5))
    before = usual(usual.rows(batch), torch.zeros(1, 7, 1))[0]
    # e^-300 is no number in float32, and so is its inverse.
    net.output.bias[AMOUNTS] -= 300
    columns = lk.ColumnLikelihood(net, range(5))
    found = columns(columns.rows(batch), torch.zeros(1, 7, 1))[0]
    expected = column_log_likelihoods(net, batch, torch.zeros(7, 1)).sum(axis=1)
    assert found.numpy() == pytest.approx(expected, rel=1e-4)
    unlikely = batch.codes[:, 0] == 0
    assert 0 < unlikely.sum() < 7
    assert (found[unlikely] < -250).all()
    assert (found[~unlikely] >= before[~unlikely] - 1e-4).all()


def test_a_row_beside_a_near_impossible_one_has_the_digits_that_it_has_alone():
    net, batch = network(), rows(64)
    net.output.bias[AMOUNTS] -= 300
    columns = lk.ColumnLikelihood(net, range(5))
    found = columns(columns.rows(batch), torch.zeros(1, 64, 1))[0]
    fine = batch.codes[:, 0] != 0
    # Rows that are near impossible make room for ones that are not.
    codes = torch.where(fine[:, None], batch.codes, torch.tensor([1, 0, 0]))
    alone = columns(columns.rows(nw.Batch(batch.amounts, codes)), torch.zeros(1, 64, 1))[0]
    assert torch.equal(found[fine], alone[fine])


@settings(deadline=None, max_examples=25)
@given(st.sets(st.integers(0, 4), min_size=1), st.integers(0, 20))
def test_deviations_are_those_from_the_reconstruction_at_the_latent_mean(columns, seed):
    with torch.inference_mode():
        net, batch = network(seed=seed), rows(seed=seed)
        chosen = sorted(columns)
        likelihood = lk.ColumnLikelihood(net, chosen)
        found = lk.deviations(likelihood, likelihood.rows(batch))
        amounts, logits = net.decode(net.encode(net.inputs(batch))[0])
        # Their squares: near zero a root makes much of a rounding error.
        expected = torch.cat([(batch.amounts - amounts) ** 2, 2 * nw.surprises(batch, logits)], dim=1)
        assert torch.allclose(found**2, expected[:, chosen].T, rtol=1e-4, atol=1e-6)
        inside = [place for place, column in enumerate(chosen) if column < AMOUNTS]
        signs = (batch.amounts - amounts).T[[chosen[place] for place in inside]].sign()
        assert torch.equal(found[inside].sign(), signs)
        assert (found[len(inside) :] >= 0).all()


def exact(net: nw.Network, batch: nw.Batch, columns: list[int]) -> np.ndarray:
    """(n,) log ∫ p(columns | z) p(z) dz of one latent dimension by the trapezoid rule."""
    grid = np.linspace(-8, 8, 401)
    size = len(batch.amounts)
    latent = torch.from_numpy(np.repeat(grid, size).astype(np.float32))[:, None]
    everywhere = nw.Batch(batch.amounts.repeat(401, 1), batch.codes.repeat(401, 1))
    joint = column_log_likelihoods(net, everywhere, latent)[:, columns].sum(axis=1).reshape(401, size)
    return logsumexp(joint + norm.logpdf(grid)[:, None], axis=0) + math.log(grid[1] - grid[0])


@pytest.mark.parametrize("columns", [[0, 1, 2, 3, 4], [1, 3], [2, 4], [0]])
def test_many_samples_reach_the_likelihood_of_the_columns(columns):
    net, batch = network(), rows()
    noise = torch.from_numpy(lk.fixed_noise(4000, 1, seed=0))
    likelihood = lk.ColumnLikelihood(net, columns)
    found = lk.importance_weighted_bound(likelihood, likelihood.rows(batch), noise)
    assert found.numpy() == pytest.approx(exact(net, batch, columns), abs=0.05)


def test_the_bound_lies_below_and_tightens_with_samples():
    net, batch = network(), rows(200)
    columns = lk.ColumnLikelihood(net, range(5))
    known = exact(net, batch, list(range(5))).mean()
    noise = torch.from_numpy(lk.fixed_noise(1024, 1, seed=1))
    # The mean of a bound over many draws of its noise; a proposal far from the posterior makes it loose.
    bounds = [
        torch.stack(
            [lk.importance_weighted_bound(columns, columns.rows(batch), part) for part in noise.split(size)]
        ).mean()
        for size in (1, 4, 32)
    ]
    assert bounds[0] < bounds[1] < bounds[2] < known
    assert known - bounds[2] < (known - bounds[0]) / 4


def test_a_posterior_equal_to_the_prior_has_no_divergence():
    net, batch = network(), rows()
    for layer in (net.mean, net.log_variance):
        layer.weight.zero_()
        layer.bias.zero_()
    columns = lk.ColumnLikelihood(net, range(5))
    at_zero = column_log_likelihoods(net, batch, torch.zeros(7, 1)).sum(axis=1)
    assert lk.negative_elbo(columns, columns.rows(batch)).numpy() == pytest.approx(-at_zero, rel=1e-4)
    # One sample at the mean: q and p are the same density there.
    found = lk.importance_weighted_bound(columns, columns.rows(batch), torch.zeros(1, 1))
    assert found.numpy() == pytest.approx(at_zero, rel=1e-4)


def test_the_divergence_is_that_of_two_normal_distributions():
    net, batch = network(latent_dim=2), rows()
    for layer in (net.mean, net.log_variance):
        layer.weight.zero_()
    net.mean.bias[:] = torch.tensor([0.5, -1.0])
    net.log_variance.bias[:] = torch.tensor([math.log(4.0), math.log(0.25)])
    at_mean = column_log_likelihoods(net, batch, torch.tensor([[0.5, -1.0]]).expand(7, 2)).sum(axis=1)
    # KL(N(m, s²) ‖ N(0, 1)) = (s² + m² − 1 − ln s²) / 2, by hand: 0.93185 + 0.81815.
    kl = (4 + 0.25 - 1 - math.log(4)) / 2 + (0.25 + 1 - 1 - math.log(0.25)) / 2
    assert kl == pytest.approx(0.931853 + 0.818147, abs=1e-6)
    columns = lk.ColumnLikelihood(net, range(5))
    found = lk.negative_elbo(columns, columns.rows(batch))
    assert found.numpy() == pytest.approx(kl - at_mean, rel=1e-4)


def test_noise_is_that_of_its_seed():
    first = lk.fixed_noise(4, 3, seed=5)
    assert first.shape == (4, 3)
    assert first.dtype == np.float32
    assert np.array_equal(first, lk.fixed_noise(4, 3, seed=5))
    assert not np.array_equal(first, lk.fixed_noise(4, 3, seed=6))
