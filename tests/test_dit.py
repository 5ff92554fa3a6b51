"""The transformer: against the paper's formula and its parameter counts, and what must hold for every picture and condition."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from conftest import Margin
from noisepath.nn import DIT_SIZES, DiT, DiTConfig, Part, UNet, UNetConfig, config_from_dict, network_from_dict
from noisepath.nn.dit import DiTBlock, positions
from noisepath.nn.told import Heard

TEXT, SHOWN = Part("text", "text", 9, length=5, width=32), Part("shown", "picture", 2)
MEANING = Part("meaning", "features", 6, length=4)
SMALL: dict[str, Any] = {"width": 16, "depth": 2, "heads": 2}
NOTHING = Heard(None, None, None, None)


def _woken(seed: int = 0, **changes: Any) -> DiT:
    """A small network whose zero-initialised layers are no longer 0, in float64."""
    torch.manual_seed(seed)
    network = DiT(DiTConfig(**{**SMALL, **changes}))
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.2)
    return network.double().eval()


def _x(height: int = 8, width: int = 6, batch: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, 1, height, width, generator=generator, dtype=torch.float64)
    return x, 1000.0 * torch.rand(batch, generator=generator, dtype=torch.float64)


def _said() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {
        "text": torch.tensor([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8], [0, 0, 0, 0, 0]]),
        "meaning": torch.randn(3, 4, 6, generator=generator, dtype=torch.float64),
        "shown": torch.randn(3, 2, 4, 3, generator=generator, dtype=torch.float64),
    }


@pytest.mark.parametrize(("size", "millions"), [("S", 33), ("B", 130), ("L", 458), ("XL", 675)])
def test_the_sizes_are_the_paper_s(size: str, millions: int) -> None:
    # Peebles & Xie, table 4: patch 2 on latents of 4 x 32 x 32, noise and variance predicted, 1000 classes
    with torch.device("meta"):
        network = DiT(DiTConfig.named(size, in_channels=4, out_channels=8, classes=1000, patch=2))
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6) == millions


def test_a_block_is_the_paper_s_formula_step_by_step() -> None:
    torch.manual_seed(0)
    block = DiTBlock(12, 3).double()
    x, e = torch.randn(2, 5, 12, dtype=torch.float64), torch.randn(2, 12, dtype=torch.float64)
    weights = dict(block.named_parameters())
    shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = (
        (e @ weights["modulation.weight"].T + weights["modulation.bias"]).view(2, 6, 1, 12).unbind(1)
    )

    def linear(h: Tensor, name: str) -> Tensor:
        return h @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def normed(h: Tensor) -> Tensor:
        h = h - h.mean(-1, keepdim=True)
        return h / torch.sqrt(h.square().mean(-1, keepdim=True) + 1e-6)

    h = normed(x) * (1 + scale_a) + shift_a
    q = linear(h, "attend.query").view(2, 5, 3, 4)
    k, v = linear(h, "attend.keys_values").view(2, 5, 2, 3, 4).unbind(2)
    shares = (torch.einsum("bnhd,bmhd->bhnm", q, k) / 2.0).softmax(-1)
    mixed = torch.einsum("bhnm,bmhd->bnhd", shares, v).reshape(2, 5, 12)
    between = x + gate_a * linear(mixed, "attend.project")
    h = linear(normed(between) * (1 + scale_f) + shift_f, "feed.0")
    h = 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
    torch.testing.assert_close(block(x, e, NOTHING), between + gate_f * linear(h, "feed.2"), rtol=0.0, atol=1e-12)


def test_places_are_sines_and_cosines_of_column_and_row() -> None:
    table = positions(3, 5, 8).view(3, 5, 8)
    for row, column in [(0, 0), (2, 1), (1, 4)]:
        angles = [column, column / 100, row, row / 100]  # 10000^(-1/2) = 1/100
        expected = [math.sin(a) for a in angles[:2]] + [math.cos(a) for a in angles[:2]]
        expected += [math.sin(a) for a in angles[2:]] + [math.cos(a) for a in angles[2:]]
        torch.testing.assert_close(table[row, column], torch.tensor(expected), rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("text", ["cross", "context"])
@pytest.mark.parametrize("spectrum", [None, (8, 6)])
def test_the_output_is_0_at_initialisation_or_the_filter_s(text: str, spectrum: tuple[int, int] | None) -> None:
    network = DiT(DiTConfig(**SMALL, classes=3, conditions=(TEXT, SHOWN), text=text, spectrum=spectrum)).double()
    x, t = _x()
    t = t / 1000
    out = network(x, t, torch.tensor([0, 1, 2]), text=_said()["text"], shown=_said()["shown"])
    expected = torch.zeros_like(x) if network.linear is None else network.linear(x, t)[0]
    assert torch.equal(out, expected)


def test_a_block_is_the_identity_at_initialisation() -> None:
    network = DiT(DiTConfig(**SMALL, conditions=(TEXT,)))
    x, places = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    heard = Heard(None, places, torch.ones(2, 3, dtype=torch.bool), None)
    assert torch.equal(network.blocks[0](x, torch.randn(2, 16), heard), x)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 7), (8, 8), (2, 9)])
@pytest.mark.parametrize("patch", [1, 2, 3])
def test_any_size_of_picture_comes_out_as_it_went_in(height: int, width: int, patch: int) -> None:
    x, t = _x(height, width)
    out = _woken(patch=patch)(x, t)
    assert out.shape == x.shape and out.isfinite().all()
    for i in range(3):  # each pixel counts, and moves its own answer
        other = x.clone()
        other[i, 0, -1, -1] += 1.0
        changed = (_woken(patch=patch)(other, t) - out).abs().flatten(1).amax(1) > 1e-9
        assert changed.tolist() == [j == i for j in range(3)]


def test_a_token_goes_back_to_where_it_came_from() -> None:
    network = _woken(patch=2, depth=1, in_channels=2, out_channels=2)
    with torch.no_grad():  # tokens are their pixels, blocks are the identity, and leaving undoes entering
        for parameter in network.parameters():
            parameter.zero_()
        network.enter.weight[:8] = torch.eye(8)
        network.leave.weight[:, :8] = torch.eye(8)
    network.norm = torch.nn.Identity()  # type: ignore[assignment]
    x = torch.randn(2, 2, 6, 10, dtype=torch.float64)
    places = positions(3, 5, 16)[:, :8].double().T.reshape(1, 8, 3, 5)
    torch.testing.assert_close(network(x, torch.zeros(2)), x + F.pixel_shuffle(places, 2))


@pytest.mark.parametrize("text", ["cross", "context"])
def test_a_row_says_nothing_to_its_neighbours_and_each_part_is_heard(text: str) -> None:
    network, (x, t), said = _woken(classes=3, conditions=(TEXT, MEANING, SHOWN), text=text), _x(), _said()
    label = torch.tensor([0, 1, 2])
    whole = network(x, t, label, **said)
    rows = (slice(i, i + 1) for i in range(3))
    alone = [network(x[r], t[r], label[r], **{k: v[r] for k, v in said.items()}) for r in rows]
    torch.testing.assert_close(torch.cat(alone), whole, rtol=0.0, atol=1e-12)
    for name in said:
        less = network(x, t, label, **{k: v for k, v in said.items() if k != name})
        heard = (less - whole).abs().flatten(1).amax(1) > 1e-6
        assert heard.tolist() == ([True, True, False] if name == "text" else [True] * 3)  # the last text is empty
    assert ((network(x, t, None, **said) - whole).abs().flatten(1).amax(1) > 1e-6).all()
    assert ((network(x, t + 50.0, label, **said) - whole).abs().flatten(1).amax(1) > 1e-6).all()


@pytest.mark.parametrize("text", ["cross", "context"])
def test_a_text_s_places_are_heard_and_those_behind_its_end_are_not(text: str) -> None:
    network, (x, t), value = _woken(conditions=(MEANING,), text=text), _x(), _said()["meaning"]
    with torch.no_grad():
        network.told.by_name["part_meaning"].pool.weight.zero_()  # type: ignore[union-attr, operator]
    value[:, 2:, 0] = torch.nan
    out = network(x, t, meaning=value)
    other = value.clone()
    other[:, 2:, 1:] = 100.0
    assert torch.equal(network(x, t, meaning=other), out)
    other[:, 1] = -other[:, 1]
    assert ((network(x, t, meaning=other) - out).abs().flatten(1).amax(1) > 1e-6).all()


@pytest.mark.parametrize("text", ["cross", "context"])
def test_the_gradient_reaches_every_parameter(text: str) -> None:
    network, (x, t) = _woken(classes=3, conditions=(TEXT, MEANING, SHOWN), text=text), _x()
    network(x, t, torch.tensor([0, 1, 2]), **_said()).square().mean().backward()
    dead = [name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert dead == []


def test_half_precision_gives_the_same() -> None:
    network, (x, t) = _woken(classes=3, conditions=(TEXT, MEANING, SHOWN), text="context"), _x()
    exact = network(x, t, **_said())
    half = network.to(torch.bfloat16)(x.bfloat16(), t, **_said())
    assert half.dtype == torch.bfloat16
    assert float(((half.double() - exact).norm() / exact.norm()).detach()) < 0.1


def test_time_is_stretched_before_it_is_embedded() -> None:
    x, t = _x()
    torch.testing.assert_close(_woken(time_scale=50.0)(x, t / 50.0), _woken()(x, t), rtol=0.0, atol=1e-9)


def test_dropout_works_in_training_alone() -> None:
    network, (x, t) = _woken(dropout=0.5), _x()
    assert torch.equal(network(x, t), _woken()(x, t))
    assert not torch.equal(network.train()(x, t), network.eval()(x, t))


@pytest.mark.trained
def test_it_learns(margin: Margin, trained_seed: int) -> None:
    torch.manual_seed(trained_seed)
    network = DiT(DiTConfig(width=32, depth=2, heads=2, classes=2))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    label = torch.arange(16) % 2
    ramp = torch.linspace(-1.0, 1.0, 8).expand(8, 8)
    truth = torch.stack([ramp, ramp.T])[label][:, None]
    losses = []
    for _ in range(30):
        loss = (network(truth + torch.randn(truth.shape), torch.full((16,), 500.0), label) - truth).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    margin("loss left of the first", losses[-1] / losses[0], at_most=0.4)


@pytest.mark.parametrize(
    "config", [DiTConfig(classes=2, conditions=(TEXT, SHOWN), spectrum=(8, 6)), UNetConfig(conditions=(TEXT,))]
)
def test_a_configuration_comes_back_from_json_as_its_own_kind(config: DiTConfig | UNetConfig) -> None:
    values = json.loads(json.dumps(config.to_dict()))
    assert config_from_dict(values) == config
    assert type(config).from_dict(values) == config
    network = network_from_dict(values)
    assert isinstance(network, DiT if isinstance(config, DiTConfig) else UNet) and network.config == config
    assert ("kind" in values) == isinstance(config, DiTConfig)  # older models' U-Nets say none


def test_every_size_has_a_name() -> None:
    for size in DIT_SIZES:
        assert DiTConfig.named(size, patch=4).patch == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DiTConfig(width=18, heads=3), "width must be a multiple of 4 and of the 3 heads, but is 18"),
        (lambda: DiTConfig(width=16, heads=3), "multiple of 4 and of the 3 heads, but is 16"),
        (lambda: DiTConfig(patch=0), "patch must be a whole number >= 1, but is 0"),
        (lambda: DiTConfig(depth=True), "depth must be a whole number >= 1, but is True"),
        (lambda: DiTConfig(text="crss"), "unknown way to hear texts 'crss'; did you mean 'cross'"),
        (lambda: DiTConfig(classes=-1), "classes must be a whole number >= 0, but is -1"),
        (lambda: DiTConfig(classes=1, conditions=(Part("label", "text", 3),)), "the condition 'label' is theirs"),
        (lambda: DiTConfig(spectrum=(0, 3)), "spectrum is a height and a width"),
        (lambda: DiTConfig(spectrum=(3, 3), out_channels=2), "leave out spectrum"),
        (lambda: DiTConfig(dropout=1.0), "dropout must be in"),
        (lambda: DiTConfig.named("XS"), "unknown transformer size 'XS'"),
        (lambda: DiTConfig.from_dict({"kind": "dit", "fold": 2}), "unknown DiT settings fold"),
        (lambda: DiTConfig.from_dict({"kind": "unet"}), "of kind 'dit', but these are of kind 'unet'"),
        (lambda: config_from_dict({"kind": "dti"}), "unknown kind of network 'dti'; did you mean 'dit'"),
    ],
)
def test_what_can_t_be_a_transformer_is_an_error(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_what_can_t_be_asked_is_an_error() -> None:
    network, (x, t) = _woken(), _x()
    with pytest.raises(ValueError, match=r"the DiT takes x of shape \(B, 1, H, W\)"):
        network(x.expand(-1, 2, -1, -1), t)
    with pytest.raises(ValueError, match="the DiT takes one t per picture"):
        network(x, t[:2])
    with pytest.raises(ValueError, match=r"the DiT has no classes \(DiTConfig.classes is 0\)"):
        network(x, t, torch.tensor([0, 0, 0]))
    with pytest.raises(ValueError, match="the DiT takes one whole-number label per picture"):
        _woken(classes=2)(x, t, torch.tensor([0.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="this DiT takes no conditions, but was told 'text'"):
        network(x, t, text=_said()["text"])
