"""Dropout belongs to a sample: its mask is a function of (key, sample, layer), and fair."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from noisepath.nn import DiT, DiTConfig, UNet, UNetConfig
from noisepath.nn.dropout import Dropout, sample_keys


def masks(p: float, key: int, samples: list[int], shape: tuple[int, ...] = (5, 7), layers: int = 1) -> list[Tensor]:
    """Where values are dropped, for each of so many layers: booleans (B, *shape)."""
    drop = Dropout(p).train()
    with sample_keys(key, samples):
        return [drop(torch.ones(len(samples), *shape)) == 0 for _ in range(layers)]


def test_a_batch_that_is_cut_is_the_whole() -> None:
    (whole,) = masks(0.4, 9, [3, 8, 5, 1])
    for rows in ([0], [1, 2], [3, 0]):
        (part,) = masks(0.4, 9, [[3, 8, 5, 1][row] for row in rows])
        assert torch.equal(part, whole[rows])


def test_another_key_sample_or_layer_drops_others() -> None:
    first, second = masks(0.5, 9, [3, 8], layers=2)
    (other,) = masks(0.5, 10, [3, 8])
    assert not torch.equal(first, second) and not torch.equal(first, other) and not torch.equal(first[0], first[1])


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_masks_are_fair_and_independent(p: float) -> None:
    count, places = 64, 4001  # odd, as a hash decides two
    found = torch.stack(masks(p, 1, list(range(count)), (places,), layers=2)).double()
    scatter = math.sqrt(p * (1 - p))
    assert abs(float(found.mean()) - p) <= 4.5 * scatter / math.sqrt(found.numel())
    by_place = found.flatten(0, 1).mean(0)  # no place is dropped more than another
    assert float((by_place - p).abs().max()) <= 5.5 * scatter / math.sqrt(2 * count)
    rows = (found - p).flatten(0, 1) / scatter  # and samples and layers know nothing of each other, nor places
    products = rows @ rows.T / places
    assert float((products - torch.eye(len(rows))).fill_diagonal_(0).abs().max()) <= 5.5 / math.sqrt(places)
    for apart in (1, 2, places // 2, places // 2 + 1):
        assert abs(float((rows[:, apart:] * rows[:, :-apart]).mean())) <= 5 / math.sqrt(rows[:, apart:].numel())


def test_what_is_left_is_scaled_and_nothing_is_dropped_outside_of_training() -> None:
    drop, x = Dropout(0.25).train(), torch.randn(4, 3, 5)
    with sample_keys(0, range(4)):
        y = drop(x)
    kept = y != 0
    torch.testing.assert_close(y[kept], x[kept] / 0.75)
    assert 0 < int(kept.sum()) < kept.numel()
    assert torch.equal(drop.eval()(x), x) and torch.equal(Dropout(0.0).train()(x), x)
    assert drop(x.bfloat16()).dtype == torch.bfloat16


def test_without_keys_it_is_torchs_own() -> None:
    drop, x = Dropout(0.25).train(), torch.randn(4, 30)
    torch.manual_seed(5)
    own = drop(x)
    torch.manual_seed(5)
    assert torch.equal(own, nn.functional.dropout(x, 0.25, training=True))
    with sample_keys(0, range(3)), pytest.raises(ValueError, match="keys of 3 samples, but is asked for 4"):
        drop(x)


@pytest.mark.parametrize(
    "network",
    [
        UNet(UNetConfig(in_channels=1, out_channels=1, channels=(8, 16), blocks=1, attention=(), dropout=0.3)),
        DiT(DiTConfig(in_channels=1, out_channels=1, width=16, depth=2, heads=2, patch=2, dropout=0.3)),
    ],
    ids=["unet", "dit"],
)
def test_a_network_draws_nothing_from_torchs_generator_with_keys(network: nn.Module) -> None:
    network.train()
    torch.manual_seed(0)
    x, t = torch.randn(4, 1, 8, 8), torch.rand(4)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    before = torch.get_rng_state()
    with sample_keys(3, range(4)):
        whole = network(x, t)
    with sample_keys(3, [2, 3]):
        torch.testing.assert_close(network(x[2:], t[2:]), whole[2:], rtol=1e-4, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.allclose(network.eval()(x, t), whole)
