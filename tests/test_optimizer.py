"""Muon beside AdamW: which weights are matrices, the step against the polar factor, and a run that goes on."""

import pytest
import torch
from torch import nn

from noisepath.data import shapes
from noisepath.training.config import TrainConfig
from noisepath.training.optimizer import matrices, optimizer_of
from noisepath.training.run import build

RATE, DECAY = 0.01, 0.5
CPU = torch.device("cpu")


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(40, 24, 3)  # wide: the step's length by its longer side is far from that by its form
        self.linear = nn.Linear(24, 40)
        self.out = nn.Linear(40, 3)
        self.words = nn.Embedding(20, 24)
        self.still = nn.Linear(24, 24).requires_grad_(False)


def _config(**changes: object) -> TrainConfig:
    return TrainConfig(**{"optimizer": "muon", "learning_rate": RATE, "weight_decay": DECAY, **changes})  # type: ignore[arg-type]


def test_matrices_are_the_weights_of_layers_that_are_large_enough() -> None:
    network = Small()
    assert [id(w) for w in matrices(network)] == [id(network.conv.weight), id(network.linear.weight)]
    optimizer = optimizer_of(network, _config(), CPU)
    others = [p for group in optimizer.parts[0].param_groups for p in group["params"]]
    assert {id(p) for p in others} == {
        id(p) for p in (network.conv.bias, network.linear.bias, network.out.weight, network.out.bias, network.words.weight)
    }
    assert len(optimizer_of(network, _config(optimizer="adamw"), CPU).parts) == 1


@pytest.mark.parametrize("name", ["conv", "linear"])
def test_a_step_is_that_of_the_polar_factor(name: str) -> None:
    """W' = (1 - rate decay) W - rate 0.2 sqrt(longer side) U V^T for the gradient U S V^T (2502.16982, eq. 4); the five
    iterations leave singular values of about 0.7 to 1.2 in place of 1."""
    network = Small()
    optimizer = optimizer_of(network, _config(), CPU)
    weight: nn.Parameter = getattr(network, name).weight
    before = weight.detach().clone()
    generator = torch.Generator().manual_seed(1)
    weight.grad = torch.randn(weight.shape, generator=generator)
    weight.grad.view(len(weight), -1).mul_(torch.linspace(0.5, 2.0, len(weight))[:, None])  # rows of unlike lengths
    optimizer.step()
    shape = (len(weight), -1)
    moved = (before * (1 - RATE * DECAY) - weight.detach()).view(shape) / (RATE * 0.2 * max(before.view(shape).shape) ** 0.5)
    u, s, v = torch.linalg.svd(weight.grad.view(shape), full_matrices=False)
    found = torch.linalg.svdvals(moved)
    assert s.max() > 2 * s.min() and float(found.min()) > 0.6 and float(found.max()) < 1.3
    polar = u @ v
    assert float((moved * polar).sum() / moved.norm() / polar.norm()) > 0.97


def test_a_weight_without_a_gradient_stays() -> None:
    network = Small()
    optimizer = optimizer_of(network, _config(), CPU)
    before = network.linear.weight.detach().clone()
    network.conv.weight.grad = torch.ones_like(network.conv.weight)
    optimizer.step()
    assert torch.equal(network.linear.weight, before)
    optimizer.zero_grad()
    assert all(p.grad is None for group in optimizer.param_groups for p in group["params"])


def test_texts_are_learnt_with_muon_and_such_a_run_goes_on_as_if_it_had_never_stopped() -> None:
    config = TrainConfig(
        size="tiny", channels=(16, 16), text_width=16, text_layers=1, linear=False, batch_size=2, precision="float32"
    )
    made = build(shapes(12), config)
    assert made.config.optimizer == "muon" and any(choice.name == "optimizer" for choice in made.choices)
    straight, first, second = (made.make(made.config, 4) for _ in range(3))
    for _ in range(4):
        straight.step()
    for _ in range(2):
        first.step()
    averages = {name: {k: v.clone() for k, v in average.state_dict().items()} for name, average in first.averages.items()}
    state = first.state()
    optimizer = {name: value.clone() for name, value in state.optimizer.items()}
    assert len(optimizer) > len(list(made.network.parameters()))
    second.load_state(averages, type(state)({k: v.clone() for k, v in state.network.items()}, optimizer, state.values))
    for _ in range(2):
        second.step()
    for one, other in zip(second.network.parameters(), straight.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_unknown_optimizer_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown optimizer 'muun'; did you mean 'muon'"):
        TrainConfig(optimizer="muun")
