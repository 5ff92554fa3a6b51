"""The U-Net: what must hold at initialisation, after training, and for every size of picture."""

from __future__ import annotations

import inspect
import json
import math
import re
from dataclasses import fields

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from noisepath import DiffusionConfig
from noisepath.nn import SIZES, DiT, DiTConfig, UNet, UNetConfig, unet
from noisepath.nn.blocks import Attention, ResidualBlock, group_norm, waves

SMALL = UNetConfig(channels=(8, 12), blocks=1, attention=(1,), head_channels=4, groups=4, embedding=16, classes=3)


def _woken(config: UNetConfig, seed: int = 0) -> UNet:
    """A network whose zero-initialised outputs are no longer 0."""
    torch.manual_seed(seed)
    network = UNet(config)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return network


def _inputs(config: UNetConfig, height: int = 8, width: int = 8, batch: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, config.in_channels, height, width, generator=generator)
    return x, torch.rand(batch, generator=generator)


@pytest.mark.parametrize("size", SIZES)
def test_the_output_is_exactly_0_at_initialisation(size: str) -> None:
    config = UNetConfig.named(size, in_channels=3, out_channels=2, classes=5)
    x, t = _inputs(config, batch=1)
    assert torch.equal(UNet(config)(x, t, torch.tensor([2])), torch.zeros(1, 2, 8, 8))


def test_residual_blocks_and_attention_are_the_identity_at_initialisation() -> None:
    torch.manual_seed(0)
    x, e = torch.randn(2, 12, 5, 7), torch.randn(2, 16)
    assert torch.equal(ResidualBlock(12, 12, 16, groups=4)(x, e), x)
    assert torch.equal(Attention(12, head_channels=4, groups=4)(x), x)
    wider = ResidualBlock(12, 20, 16, groups=4)
    assert torch.equal(wider(x, e), wider.skip(x))  # where the width changes: its 1x1 convolution alone


def test_a_residual_block_is_what_its_name_says_step_by_step() -> None:
    torch.manual_seed(0)
    block = ResidualBlock(6, 4, 8, groups=2)
    nn.init.normal_(block.conv_out.weight)
    x, e = torch.randn(2, 6, 5, 3), torch.randn(2, 8)
    scale, shift = block.modulated.modulation(e)[:, :4], block.modulated.modulation(e)[:, 4:]
    h = F.conv2d(F.silu(F.group_norm(x, 2)), block.conv_in.weight, block.conv_in.bias, padding=1)
    h = F.group_norm(h, 2) * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    h = F.conv2d(F.silu(h), block.conv_out.weight, block.conv_out.bias, padding=1)
    assert torch.allclose(block(x, e), block.skip(x) + h, atol=1e-5)


def test_time_is_stretched_before_it_is_embedded() -> None:
    narrow, wide = (_woken(UNetConfig(**{**SMALL.to_dict(), "time_scale": s})).eval() for s in (1.0, 50.0))
    x, t = _inputs(SMALL)
    assert torch.allclose(wide(x, t), narrow(x, 50.0 * t), atol=2e-5)
    assert not torch.allclose(wide(x, t), narrow(x, t), atol=1e-2)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("fold", [1, 2])
def test_the_gradient_reaches_every_parameter_once_the_outputs_are_not_0(classes: int, fold: int) -> None:
    config = UNetConfig(**{**SMALL.to_dict(), "classes": classes, "fold": fold})
    network = _woken(config)
    x, t = _inputs(config)
    label = torch.tensor([0, 1, 2, 3]) if classes else None
    network(x, t, label).square().mean().backward()
    dead = [name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert dead == []


@pytest.mark.parametrize(("height", "width"), [(5, 7), (1, 1), (28, 28), (8, 3), (2, 9)])
@pytest.mark.parametrize("levels", [1, 2, 4])
@pytest.mark.parametrize("fold", [1, 2, 3])
def test_any_size_of_picture_comes_out_as_it_went_in(height: int, width: int, levels: int, fold: int) -> None:
    sizes = {"channels": (8,) * levels, "attention": (levels - 1,), "fold": fold}
    config = UNetConfig(**sizes, blocks=1, embedding=8, groups=4, head_channels=4)
    x, t = _inputs(config, height, width, batch=2)
    out = _woken(config)(x, t)
    assert out.shape == x.shape
    assert out.isfinite().all() and out.std() > 0


def test_a_picture_that_needs_no_padding_is_not_padded_and_one_that_does_is_padded_around_it() -> None:
    from noisepath.nn.blocks import crop, pad

    x = torch.arange(10.0).view(1, 1, 2, 5)
    padded = pad(x, 4)
    assert padded.shape == (1, 1, 4, 8)
    assert torch.equal(crop(padded, 2, 5), x)
    assert torch.equal(padded[0, 0, :, 0], torch.tensor([0.0, 0.0, 5.0, 5.0]))  # the border is repeated, on both sides
    assert pad(x, 1) is x


def test_waves_are_cosines_from_edge_to_edge() -> None:
    found = waves(torch.zeros(2, 3, 4, 6), 2)
    assert found is not None and found.shape == (2, 4, 4, 6)
    for k in (1, 2):
        for row in range(4):
            for column in range(6):
                down, across = found[1, k - 1, row, column], found[1, 1 + k, row, column]
                assert abs(float(down) - math.cos(math.pi * k * (row + 0.5) / 4)) < 1e-6
                assert abs(float(across) - math.cos(math.pi * k * (column + 0.5) / 6)) < 1e-6
    assert waves(torch.zeros(2, 3, 4, 6), 0) is None


@pytest.mark.parametrize("positions", [0, 2])
def test_a_network_with_positions_knows_where_it_is(positions: int) -> None:
    """Far from the edges, and without attention, a grey picture looks the same everywhere to one without."""
    config = UNetConfig(**{**SMALL.to_dict(), "channels": (8,), "attention": (), "positions": positions})
    network = _woken(config).eval().double()
    out = network(torch.zeros(1, 1, 64, 64).double(), torch.tensor([0.5]).double())[0, 0, 24:40, 24:40]
    assert bool(out.std() > 1e-3) == bool(positions)


def test_a_folded_network_sees_every_pixel_and_its_last_layer_crosses_the_seams() -> None:
    folded = UNetConfig(**{**SMALL.to_dict(), "fold": 2, "attention": (), "channels": (8,)})
    network, x, t = _woken(folded).eval().double(), torch.rand(1, 1, 8, 8, dtype=torch.float64), torch.tensor([0.5]).double()
    out = network(x, t)
    for row, column in [(0, 0), (3, 4), (7, 7)]:
        other = x.clone()
        other[0, 0, row, column] += 1.0
        assert not torch.equal(network(other, t), out)
    for layer in (network.leave.mix, network.leave.conv):  # a pixel at a seam is made from its neighbours on both sides
        features = torch.zeros(1, layer.in_channels, 8, 8, dtype=torch.float64)
        features[0, 0, 3, 3] = 1.0
        reached = (layer(features) - layer(torch.zeros_like(features)))[0].abs().amax(0) > 0
        assert reached[2:5, 2:5].all() and int(reached.sum()) == 9


def test_the_pixels_of_a_folded_network_hear_of_the_noise_level() -> None:
    folded = UNetConfig(**{**SMALL.to_dict(), "fold": 2, "attention": (), "channels": (8,)})
    network = _woken(folded).eval()
    h, x, e = torch.randn(1, 8, 4, 4), torch.randn(1, 1, 8, 8), torch.randn(2, 1, 16)
    assert not torch.allclose(network.leave(h, x, e[0]), network.leave(h, x, e[1]), atol=1e-3)


@pytest.mark.parametrize("channels", [(7,), (10, 13)])
def test_any_number_of_channels_works(channels: tuple[int, ...]) -> None:
    config = UNetConfig(in_channels=5, out_channels=2, channels=channels, attention=(0,), blocks=1, embedding=9, groups=32)
    x, t = _inputs(config, 4, 4, batch=2)
    assert _woken(config)(x, t).shape == (2, 2, 4, 4)


def test_group_norm_takes_the_largest_count_that_divides() -> None:
    assert [group_norm(c, 16).num_groups for c in (32, 24, 7, 1, 17)] == [16, 12, 7, 1, 1]


def _channels_last(network: UNet) -> UNet:
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def test_memory_formats_and_batches_give_the_same_output() -> None:
    network = _woken(SMALL).eval()
    x, t = _inputs(SMALL)
    label = torch.tensor([0, 1, 2, 3])
    out = network(x, t, label)
    # float32 sums in another order: a few units of 6e-8 times values of about 1, grown by some twenty layers
    assert torch.allclose(network(x.contiguous(memory_format=torch.channels_last), t, label), out, atol=2e-5)
    assert torch.allclose(_channels_last(network)(x, t, label), out, atol=2e-5)
    assert torch.allclose(torch.cat([network(x[i : i + 1], t[i : i + 1], label[i : i + 1]) for i in range(4)]), out, atol=2e-5)


def test_the_order_in_memory_of_larger_pictures_does_not_change_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    network = _woken(SMALL).eval().double()
    x, t = (tensor.double() for tensor in _inputs(SMALL, 32, 24))
    assert unet._ordered(torch.zeros(2, 3, 16, 16)).is_contiguous(memory_format=torch.channels_last)
    out = network(x, t)
    monkeypatch.setattr(unet, "_ordered", lambda x: x)
    assert torch.allclose(out, network(x, t), rtol=1e-10, atol=1e-12)


def test_a_sample_does_not_see_its_neighbours() -> None:
    network = _woken(SMALL).eval()
    x, t = _inputs(SMALL)
    changed = x.clone()
    changed[1:] += 1.0
    assert torch.allclose(network(x, t)[0], network(changed, t)[0], atol=2e-5)
    assert not torch.allclose(network(x, t)[1], network(changed, t)[1], atol=1e-2)


def test_time_and_class_matter_after_training() -> None:
    """Taught to answer 2 t - 1 + class, it does: the loss falls to a fifth of what ignoring either would leave."""
    torch.manual_seed(0)
    network = UNet(UNetConfig(**{**SMALL.to_dict(), "time_scale": 1000.0}))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(60):
        x, t, label = torch.randn(16, 1, 4, 4), torch.rand(16), torch.randint(0, 3, (16,))
        target = (2 * t - 1 + label).view(-1, 1, 1, 1)
        loss = (network(x, t, label) - target).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    x = torch.randn(8, 1, 4, 4)
    early, late = (network(x, torch.full((8,), t), torch.ones(8, dtype=torch.int64)).mean().item() for t in (0.1, 0.9))
    one, three = (network(x, torch.full((8,), 0.5), torch.full((8,), c)).mean().item() for c in (0, 2))
    assert late - early == pytest.approx(1.6, abs=0.5)
    assert three - one == pytest.approx(2.0, abs=0.5)


def test_no_label_is_the_null_label_and_dropout_is_off_in_evaluation() -> None:
    network = _woken(UNetConfig(**{**SMALL.to_dict(), "dropout": 0.5})).eval()
    x, t = _inputs(SMALL)
    assert torch.equal(network(x, t), network(x, t, torch.full((4,), 3)))
    assert not torch.equal(network(x, t), network(x, t, torch.zeros(4, dtype=torch.int64)))
    assert torch.equal(network(x, t), network(x, t))
    network.train()
    assert not torch.equal(network(x, t), network(x, t))


def test_heads_mix_only_their_own_channels() -> None:
    """With one head per channel the attention weights of a channel depend on that channel alone."""
    torch.manual_seed(0)
    attention = Attention(4, head_channels=2, groups=4)
    assert attention.heads == 2
    with torch.no_grad():
        attention.project.weight.copy_(torch.eye(4))
        attention.qkv.weight.zero_()
        for part in range(3):
            attention.qkv.weight[4 * part : 4 * part + 4].copy_(torch.eye(4))
    x = torch.randn(1, 4, 3, 3)
    changed = x.clone()
    changed[:, 2:] = torch.randn(1, 2, 3, 3)
    assert torch.allclose(attention(x)[:, :2], attention(changed)[:, :2], atol=1e-6)
    assert not torch.allclose(attention(x)[:, 2:], attention(changed)[:, 2:], atol=1e-2)


def test_attention_is_a_softmax_average_over_places() -> None:
    torch.manual_seed(0)
    attention = Attention(4, head_channels=4, groups=2)
    with torch.no_grad():
        attention.project.weight.normal_()
    x = torch.randn(2, 4, 3, 2)
    places = attention.norm(x).flatten(2).transpose(1, 2)
    q, k, v = attention.qkv(places).chunk(3, dim=2)
    mixed = torch.softmax(q @ k.transpose(1, 2) / 2.0, dim=-1) @ v  # 2 = sqrt(4 channels of the head)
    by_hand = x + nn.functional.linear(mixed, attention.project.weight).transpose(1, 2).reshape(x.shape)
    assert torch.allclose(attention(x), by_hand, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_a_configuration_survives_json(size: str) -> None:
    config = UNetConfig.named(size, classes=7, channels=(3, 5), attention=())
    assert UNetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": ()}, "channels must be one or more"),
        ({"channels": (8, 0)}, "channels must be one or more"),
        ({"attention": (2,)}, "attention names levels 0 to 1"),
        ({"blocks": 0}, "blocks must be a whole number"),
        ({"embedding": 2.5}, "embedding must be a whole number"),
        ({"classes": -1}, "classes must be a whole number"),
        ({"dropout": 1.0}, "dropout must be in"),
    ],
)
def test_numbers_that_make_no_network_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        UNetConfig(**{**SMALL.to_dict(), **change})
    assert "\n" not in str(caught.value)


def test_unknown_names_offer_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'small'"):
        UNetConfig.named("smal")
    with pytest.raises(ValueError, match="unknown U-Net settings widths"):
        UNetConfig.from_dict({"widths": [1]})


@pytest.mark.parametrize(
    ("x", "t", "label", "message"),
    [
        ((2, 2, 8, 8), (2,), None, r"shape \(B, 1, H, W\), but got \(2, 2, 8, 8\)"),
        ((2, 8, 8), (2,), None, r"but got \(2, 8, 8\)"),
        ((2, 1, 8, 8), (3,), None, r"one t per picture, shape \(2,\), but got \(3,\)"),
        ((2, 1, 8, 8), (2,), torch.zeros(3, dtype=torch.int64), "one whole-number label per picture"),
        ((2, 1, 8, 8), (2,), torch.zeros(2), "one whole-number label per picture"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    x: tuple[int, ...], t: tuple[int, ...], label: torch.Tensor | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        UNet(SMALL)(torch.zeros(x), torch.zeros(t), label)


@pytest.mark.parametrize("kind", [UNet, DiT])
def test_one_time_for_all_is_a_number_or_a_tensor_of_one(kind: type[UNet] | type[DiT]) -> None:
    torch.manual_seed(0)
    network = kind(SMALL if kind is UNet else DiTConfig(width=16, depth=1, heads=2))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.2)
        x = _inputs(SMALL)[0]
        wanted = network(x, torch.full((4,), 5.0))
        assert not torch.allclose(wanted, network(x, torch.full((4,), 6.0))), "t matters"
        tensors = torch.tensor(5), torch.tensor([5]), torch.tensor(5.0), torch.tensor([5] * 4)
        for t in (5, 5.0, np.int64(5), np.float32(5), *tensors):
            assert torch.equal(network(x, t), wanted), t
        assert torch.equal(network(x[:1], 5), network(x[:1], torch.tensor([5.0])))
        for wrong in ("5", None, True, [5, 5, 5, 5]):
            with pytest.raises(TypeError, match="takes t as a number or a tensor, but got"):
                network(x, wrong)
        for wrong in (torch.zeros(3), torch.zeros(4, 1), torch.zeros(1, 1), torch.zeros(4, dtype=torch.bool)):
            with pytest.raises(ValueError, match="takes (one t per picture|t in real numbers)"):
                network(x, wrong)


@pytest.mark.parametrize("config", [UNetConfig, DiTConfig, DiffusionConfig])
def test_help_says_of_each_option_what_it_is(config: type) -> None:
    text = str(inspect.getdoc(config))
    for field in fields(config):
        (about,) = re.findall(rf"^ *{field.name}: (.+)$", text, re.MULTILINE)
        assert len(about) > 10, field.name


@pytest.mark.parametrize(
    ("config", "option", "ours"),
    [
        (UNetConfig, "block_out_channels", "channels"),
        (UNetConfig, "num_class_embeds", "classes"),
        (UNetConfig, "chanels", "channels"),
        (DiTConfig, "patch_size", "patch"),
        (DiTConfig, "widht", "width"),
    ],
)
def test_an_option_of_another_library_is_answered_with_ours(config: type, option: str, ours: str) -> None:
    message = rf"{config.__name__} has no option '{option}': did you mean {ours}\? \(there are: in_channels,"
    with pytest.raises(TypeError, match=message):
        config(**{option: 4})


def test_whole_numbers_of_numpy_make_a_network_s_numbers_which_json_takes() -> None:
    config = UNetConfig(channels=[np.int64(8), np.int32(12)], classes=np.int64(3), dropout=np.float64(0.5))  # type: ignore[arg-type]
    assert config == UNetConfig(channels=(8, 12), classes=3, dropout=0.5)
    assert UNetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert DiTConfig(width=np.int64(16), heads=np.int64(2)) == DiTConfig(width=16, heads=2)  # type: ignore[arg-type]


def test_labels_for_a_network_without_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="has no classes"):
        UNet(UNetConfig(**{**SMALL.to_dict(), "classes": 0}))(torch.zeros(1, 1, 4, 4), torch.zeros(1), torch.tensor([0]))


def test_the_room_knows_what_it_has() -> None:
    import noisepath.nn

    with pytest.raises(AttributeError, match="no attribute 'Unet'"):
        noisepath.nn.Unet  # noqa: B018
