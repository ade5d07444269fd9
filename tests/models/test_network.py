import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import Categorical, Normal, kl_divergence

from models import network as nw

SHAPE = nw.Shape(
    amounts=2, codes=(3, 2), hidden_units=8, hidden_layers=2, decoder_units=6, latent_dim=4, head=True
)


def network(seed: int = 0, **changes) -> nw.Network:
    net = nw.Network(replace(SHAPE, **changes))
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


def test_objective_adds_cross_entropy_and_the_weighted_elbo():
    net, rows = network(), batch()

    def loss(weight: float, beta: float) -> float:
        noise = nw.Noise(torch.Generator().manual_seed(0))
        return nw.Objective("mixed", beta, weight, dropout=0.0, input_noise=0.0)(net, rows, noise).item()

    with torch.no_grad():
        mean, log_variance = net.encode(net.inputs(rows))
        fit = torch.nn.functional.binary_cross_entropy_with_logits(net.logits(mean)[:, 0], rows.label)
        assert loss(0.0, 1.0) == pytest.approx(fit.item())
        assert loss(0.5, 3.0) - loss(0.5, 1.0) == pytest.approx(
            nw.divergence(mean, log_variance).item(), rel=1e-3
        )


def test_dropout_keeps_the_mean_and_drops_the_share():
    noise = nw.Noise(torch.Generator().manual_seed(0))
    found = noise.drop(torch.ones(20_000), 0.25)
    assert (found == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert found.mean().item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("share", [0.1, 0.15, 0.5])
def test_dropout_reads_its_generator_alone_and_scales_what_is_kept(share):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, second = (
        nw.Noise(torch.Generator().manual_seed(3)).drop(torch.ones(7, 333), share) for _ in range(2)
    )
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, second)
    assert sorted(set(first.flatten().tolist())) == pytest.approx([0.0, 1 / (1 - share)])


class Recording(nw.Network):
    """Keeps the inputs that it encodes."""

    def encode(self, inputs, drop=lambda x: x):
        self.seen = inputs
        return super().encode(inputs, drop)


def test_input_noise_moves_what_is_encoded_of_the_amounts_and_no_code():
    net, rows = Recording(SHAPE), batch()
    net.initialise(torch.Generator().manual_seed(0))
    nw.Objective("mixed", 1.0, 1.0, 0.0, input_noise=0.1)(
        net, rows, nw.Noise(torch.Generator().manual_seed(0))
    )
    moved = (net.seen - net.inputs(rows)).abs()
    assert ((moved[:, :2] > 0) & (moved[:, :2] < 0.5)).all()
    assert (moved[:, 2:] == 0).all()


# ---- Ensembles -------------------------------------------------------------------------------------


def test_members_share_matrices_and_differ_in_scalings_biases_and_heads():
    net = network(members=3)
    names = {name: tuple(weight.shape) for name, weight in net.named_parameters()}
    assert names["scale"] == (3, SHAPE.width)
    assert [names["biases.0"], names["biases.1"], names["head.weight"]] == [(3, 8), (3, 8), (3, 4)]
    assert names["encoder.1.weight"] == (8, 8)
    assert "encoder.0.bias" not in names
    assert net.scale.std().item() == pytest.approx(nw.MEMBER_SPREAD, abs=0.25)
    assert "scale" not in dict(network().named_parameters())


def by_member(net: nw.Network, inputs: torch.Tensor) -> torch.Tensor:
    """(n, members) log-odds as written in the docstring: every member on inputs scaled by itself."""
    found = []
    for k in range(net.shape.members):
        hidden = inputs * net.scale[k]
        for layer, bias in zip(net.encoder, net.biases, strict=True):
            hidden = torch.relu(hidden @ layer.weight.T + bias[k])
        found.append(net.mean(hidden) @ net.head.weight[k] + net.head.bias[k])
    return torch.stack(found, dim=1)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_an_ensemble_computes_its_members(layers):
    net = network(members=3, hidden_layers=layers)
    with torch.no_grad():
        inputs = net.inputs(batch())
        mean, log_variance = net.encode(inputs)
        assert mean.shape == log_variance.shape == (9, 4)
        assert torch.allclose(net.logits(mean), by_member(net, inputs), atol=1e-6)


def test_each_member_is_trained_on_its_own_cross_entropy():
    net, rows = network(members=3), batch()
    with torch.no_grad():
        logits = by_member(net, net.inputs(rows))
        own = [
            torch.nn.functional.binary_cross_entropy_with_logits(logits[:, k], rows.label) for k in range(3)
        ]
        noise = nw.Noise(torch.Generator().manual_seed(0))
        found = nw.Objective("mixed", 1.0, 0.0, dropout=0.0, input_noise=0.0)(net, rows, noise)
        assert found.item() == pytest.approx(float(sum(own)) / 3, rel=1e-5)


def test_the_decoder_rebuilds_the_chosen_amounts_and_every_code():
    net, rows = network(reconstructed=(1,)), batch()
    with torch.no_grad():
        amounts, codes = net.decode(torch.zeros(3, 4))
    assert [tuple(part.shape) for part in (amounts, *codes)] == [(3, 1), (3, 3), (3, 2)]
    assert net.targets(rows).tolist() == rows.amounts[:, 1:].tolist()
    assert net.log_sigma.shape == (1,)


def test_a_labelled_decoder_rebuilds_by_the_label_and_the_score_knows_none():
    net, rows = network(labelled=True), batch()
    latent = torch.zeros(2, 4)
    with torch.no_grad():
        amounts, _ = net.decode(latent, torch.tensor([0.0, 1.0]))
        assert not torch.allclose(amounts[0], amounts[1])
        inputs = net.inputs(rows)
        assert torch.equal(net.encode(inputs)[0], net.encode(net.inputs(rows._replace(label=None)))[0])


@pytest.mark.parametrize("members", [1, 2])
def test_rows_are_repeated_as_the_latents_come(members):
    repeated = batch().repeat(members)
    assert repeated.label.tolist() == [label for label in [0.0, 1.0, 0.0] for _ in range(members)]
    assert repeated.codes[members].tolist() == batch().codes[1].tolist()


def test_weight_decay_pulls_at_matrices_alone():
    net = network(members=2)
    settings = nw.Training(1, 2, 1e-3, 0.5, "constant", None, 0.0)
    decayed, free = nw._Descent(net, settings, 1).optimizer.param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.5, 0.0)
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    assert {names[id(p)] for p in decayed["params"]} == {
        *(f"{layer}.weight" for layer in ("encoder.0", "encoder.1", "mean", "log_variance", "decoder")),
        *("output.weight", "head.weight"),
    }
    assert len(decayed["params"]) + len(free["params"]) == len(names)


# ---- Folded ----------------------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["packed", "plain"])
def onednn(request, monkeypatch):
    if request.param and not torch.backends.mkldnn.is_available():
        pytest.skip("torch was built without oneDNN")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: request.param)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_folding_changes_no_log_odds(onednn, layers, members):
    net = network(members=members, hidden_layers=layers)
    inputs = torch.randn(50, SHAPE.width, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = net.logits(net.encode(inputs)[0]).mean(dim=1)
        assert torch.allclose(nw.Folded([net]).logit(inputs), expected, atol=1e-6)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_contributions_sum_to_the_difference_from_the_reference(layers, members):
    folded = nw.Folded([network(members=members, hidden_layers=layers)])
    inputs = torch.randn(200, SHAPE.width, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        reference = inputs.mean(dim=0)
        found = folded.contributions(inputs, reference).sum(dim=1)
        expected = folded.logit(inputs) - folded.logit(reference[None])
    assert torch.allclose(found, expected, atol=1e-5)


def one_unit(weights: list[float], bias: float, out: float) -> nw.Folded:
    """log-odds = out · ReLU(weights · x + bias)."""
    shape = nw.Shape(
        amounts=2, codes=(), hidden_units=1, hidden_layers=1, decoder_units=1, latent_dim=1, head=True
    )
    net = nw.Network(shape)
    net.initialise(torch.Generator().manual_seed(0))
    with torch.no_grad():
        net.encoder[0].weight.copy_(torch.tensor([weights]))
        net.encoder[0].bias.fill_(bias)
        net.mean.weight.fill_(out)
        net.head.weight.fill_(1.0)
        for part in (net.mean.bias, net.head.bias):
            part.fill_(0.0)
        return nw.Folded([net])


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        # Reference (0, 0): z = −1, h = 0. Rescale carries out · Δh / Δz · weight · Δx.
        ([2.0, 1.0], [3 * (4 / 5) * 4, 3 * (4 / 5) * 1]),  # z = 4, h = 4: Δh / Δz = 4 / 5
        ([0.0, 0.5], [0.0, 0.0]),  # z = −0.5: still closed, nothing moved
        ([0.0, 3.0], [0.0, 3 * (2 / 3) * 3]),  # z = 2, h = 2
        ([0.0, 0.0], [0.0, 0.0]),  # the reference itself
        ([-1.0, 3.0], [0.0, 0.0]),  # Δz = 1 and h = 0
    ],
)
def test_rescale_by_hand(inputs, expected):
    folded = one_unit([2.0, 1.0], bias=-1.0, out=3.0)
    with torch.inference_mode():
        found = folded.contributions(torch.tensor([inputs]), torch.zeros(2))
    assert found[0].tolist() == pytest.approx(expected)
