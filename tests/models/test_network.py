import math

import pytest
import torch
from torch.distributions import Categorical, Normal, kl_divergence

from models import network as nw

SHAPE = nw.Shape(
    amounts=2, codes=(3, 2), hidden_units=8, hidden_layers=2, decoder_units=6, latent_dim=4, head=True
)


def network(seed: int = 0) -> nw.Network:
    net = nw.Network(SHAPE)
    net.initialise(torch.Generator().manual_seed(seed), base_log_odds=-1.26)
    return net


def batch() -> nw.Batch:
    amounts = torch.tensor([[0.5, -1.0], [2.0, 0.0], [0.0, 0.1]])
    return nw.Batch(amounts, torch.tensor([[0, 1], [2, 0], [1, 1]]), torch.tensor([0.0, 1.0, 0.0]))


def test_inputs_are_amounts_beside_one_hot_codes():
    assert network().inputs(batch()).tolist()[1] == [2.0, 0.0, 0, 0, 1, 1, 0]


def test_initialisation_reads_its_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, second, third = nw.to_arrays(network(1)), nw.to_arrays(network(1)), nw.to_arrays(network(2))
    assert torch.equal(before, torch.get_rng_state())
    assert all((first[name] == second[name]).all() for name in first)
    assert (first["mean.weight"] != third["mean.weight"]).any()
    assert first["head.bias"] == pytest.approx([-1.26])


def test_divergence_is_torch_s_own():
    mean, log_variance = torch.randn(5, 4), torch.randn(5, 4)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(dim=1).mean()
    assert nw.divergence(mean, log_variance).item() == pytest.approx(expected.item(), rel=1e-5)


def test_mixed_reconstruction_is_minus_the_log_likelihood_but_for_a_constant():
    net, rows = network(), batch()
    with torch.no_grad():
        net.log_sigma.copy_(torch.tensor([0.3, -0.7]))
        latent = net.encode(net.inputs(rows))[0]
        amounts, codes = net.decode(latent)
        likelihood = Normal(amounts, net.log_sigma.exp()).log_prob(rows.amounts).sum(dim=1)
        for i, logits in enumerate(codes):
            likelihood += Categorical(logits=logits).log_prob(rows.codes[:, i])
        expected = -likelihood.mean().item() - 2 * math.log(math.sqrt(2 * math.pi))
        assert nw.mixed_reconstruction(net, rows, latent).item() == pytest.approx(expected, rel=1e-5)


def test_deviations_square_to_twice_the_surprise():
    net, rows = network(), batch()
    with torch.no_grad():
        latent = net.encode(net.inputs(rows))[0]
        found = nw.deviations(net, rows, latent)
        amounts, codes = net.decode(latent)
        assert torch.allclose(found[:, :2], rows.amounts - amounts)
        assert torch.allclose(found[:, 2:] ** 2, 2 * nw.surprises(rows, codes), atol=1e-6)


def test_objective_adds_cross_entropy_and_the_weighted_elbo():
    net, rows = network(), batch()

    def loss(weight: float, beta: float) -> float:
        noise = nw.Noise(torch.Generator().manual_seed(0))
        return nw.Objective("mixed", beta, weight, dropout=0.0, input_noise=0.0)(net, rows, noise).item()

    with torch.no_grad():
        mean, log_variance = net.encode(net.inputs(rows))
        fit = torch.nn.functional.binary_cross_entropy_with_logits(net.logit(mean), rows.label)
        assert loss(0.0, 1.0) == pytest.approx(fit.item())
        assert loss(0.5, 3.0) - loss(0.5, 1.0) == pytest.approx(
            nw.divergence(mean, log_variance).item(), rel=1e-3
        )


def test_dropout_keeps_the_mean_and_drops_the_share():
    noise = nw.Noise(torch.Generator().manual_seed(0))
    found = noise.drop(torch.ones(20_000), 0.25)
    assert (found == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert found.mean().item() == pytest.approx(1.0, abs=0.02)
