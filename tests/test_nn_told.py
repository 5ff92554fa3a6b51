"""What a network is told beside the noise level: every kind of condition, and that what is not said says nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from noisepath import Condition, Denoiser, classifier_free, sample, schedule
from noisepath.denoiser import begin
from noisepath.nn import KINDS, DiT, DiTConfig, Part, UNet, UNetConfig
from noisepath.nn.attend import Attend, TextEncoder
from noisepath.nn.blocks import Attention, CrossAttention, waves
from noisepath.nn.told import Told

PARTS = {
    "class": Part("kind_of", "class", 3),
    "values": Part("values", "values", 2),  # a name that dictionaries have a method of
    "text": Part("text", "text", 9, length=5, width=32, layers=2),
    "features": Part("meaning", "features", 6, length=4),
    "picture": Part("shown", "picture", 2),
}
SMALL: dict[str, Any] = {"channels": (8, 12), "attention": (1,), "head_channels": 4, "groups": 4, "embedding": 16}


def _network(*parts: Part, seed: int = 0, **changes: Any) -> UNet:
    """A small network whose outputs are not 0, in float64."""
    torch.manual_seed(seed)
    network = UNet(UNetConfig(**{**SMALL, "conditions": parts, **changes}))
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.2)
    return network.double().eval()


def _x(batch: int = 3, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, 1, 8, 6, generator=generator, dtype=torch.float64)
    return x, torch.rand(batch, generator=generator, dtype=torch.float64)


def _value(part: Part, batch: int = 3, seed: int = 2) -> Tensor:
    """Something that can be said."""
    generator = torch.Generator().manual_seed(seed)
    match part.kind:
        case "class":
            return torch.arange(batch) % part.size
        case "text":
            return torch.randint(1, part.size + 1, (batch, part.length), generator=generator)
        case "values":
            shape: tuple[int, ...] = (batch, part.size)
        case "features":
            shape = (batch, part.length, part.size)
        case _:
            shape = (batch, part.size, 8, 6)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _far(a: Tensor, b: Tensor) -> bool:
    return bool(((a - b).abs().flatten(1).amax(1) > 1e-6).all())


def test_there_is_a_part_of_every_kind_here() -> None:
    assert list(PARTS) == list(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_null_says_what_silence_says_and_anything_else_says_more(kind: str) -> None:
    part, (x, t) = PARTS[kind], _x()
    network = _network(part)
    silent = network(x, t)
    null = part.null(8, 6)
    null = null.expand(3, *null.shape[1:])
    assert torch.equal(network(x, t, **{part.name: null}), silent)
    assert silent.isfinite().all()
    assert _far(network(x, t, **{part.name: _value(part)}), silent)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_says_nothing_to_its_neighbours(kind: str) -> None:
    part, (x, t) = PARTS[kind], _x()
    network, value = _network(part), _value(PARTS[kind]).clone()
    value[1] = part.null(8, 6)[0]
    whole = network(x, t, **{part.name: value})
    alone = torch.cat([network(x[i : i + 1], t[i : i + 1], **{part.name: value[i : i + 1]}) for i in range(3)])
    torch.testing.assert_close(alone, whole, rtol=0.0, atol=1e-12)
    torch.testing.assert_close(whole[1], network(x, t)[1], rtol=0.0, atol=1e-12)


def test_one_number_of_several_may_be_left_out() -> None:
    network, (x, t) = _network(PARTS["values"]), _x()
    value = _value(PARTS["values"])
    half = value.clone()
    half[:, 1] = torch.nan
    zero = half.nan_to_num(0.0)
    outs = [network(x, t, values=v) for v in (value, half, zero)] + [network(x, t)]
    assert all(_far(outs[i], outs[j]) for i in range(4) for j in range(i))


def test_places_behind_the_end_of_a_text_change_nothing() -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(9, 5, 16, 2).double()
    short = torch.tensor([[3, 1, 0, 0, 0]])
    features, mask = encoder(short)
    assert mask.tolist() == [[True, True, True, False, False, False]]
    with torch.no_grad():  # what stands at masked places is what those places have learned: it must not be heard
        encoder.places[3:] += 10.0
        encoder.embed.weight[0] += 5.0
    torch.testing.assert_close(encoder(short)[0][mask], features[mask], rtol=0.0, atol=1e-13)


def test_a_longer_room_for_the_same_text_changes_nothing() -> None:
    part = PARTS["text"]
    longer = Part(part.name, "text", part.size, length=9, width=part.width, layers=part.layers)
    network, wide, (x, t) = _network(part), _network(longer), _x()
    weights = network.state_dict()
    place = next(name for name in weights if name.endswith("places"))
    weights[place] = torch.cat([weights[place], torch.randn(4, part.width, dtype=torch.float64)])
    wide.load_state_dict(weights)
    text = torch.tensor([[1, 2, 3, 4, 5], [7, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    padded = torch.nn.functional.pad(text, (0, 4))
    torch.testing.assert_close(wide(x, t, text=padded), network(x, t, text=text), rtol=0.0, atol=1e-12)


def test_the_order_of_the_words_matters() -> None:
    network, (x, t) = _network(PARTS["text"]), _x()
    text = torch.tensor([[1, 2, 3, 0, 0]] * 3)
    assert _far(network(x, t, text=text), network(x, t, text=text[:, [1, 0, 2, 3, 4]]))


def test_a_text_is_heard_by_attention_too_and_not_by_its_first_place_alone() -> None:
    network, (x, t) = _network(PARTS["text"]), _x()
    text = _value(PARTS["text"])
    out = network(x, t, text=text)
    with torch.no_grad():
        network.told.by_name["part_text"].pool.weight.zero_()  # type: ignore[union-attr, operator]
    assert _far(network(x, t, text=text), out)
    assert _far(network(x, t, text=text), network(x, t))


def test_places_of_features_that_are_nan_are_not_heard() -> None:
    network, (x, t) = _network(PARTS["features"]), _x()
    value = _value(PARTS["features"]).clone()
    value[:, 2:, 0] = torch.nan
    out = network(x, t, meaning=value)
    other = value.clone()
    other[:, 2:, 1:] = 100.0
    assert torch.equal(network(x, t, meaning=other), out)
    other[:, 1] = -other[:, 1]
    assert _far(network(x, t, meaning=other), out)


def test_a_small_picture_is_brought_to_size_and_unknown_pixels_hold_nothing() -> None:
    told = Told([PARTS["picture"]], 16, 16).double()
    x, _ = _x()
    small = torch.full((3, 2, 4, 3), 0.5, dtype=torch.float64)
    channels = told({"shown": small}, x).channels
    assert channels is not None and channels.shape == (3, 3, 8, 6) and told.channels == 3
    torch.testing.assert_close(channels[:, :2], torch.full((3, 2, 8, 6), 0.5, dtype=torch.float64))
    assert torch.equal(channels[:, 2], torch.ones(3, 8, 6, dtype=torch.float64))
    network, (x, t) = _network(PARTS["picture"]), _x()
    value = _value(PARTS["picture"]).clone()
    value[:, 0, 2:5] = torch.nan
    out = network(x, t, shown=value)
    other = value.clone()
    other[:, 1, 2:5] = 7.0  # known in one channel alone: unknown
    assert torch.equal(network(x, t, shown=other), out)
    assert _far(network(x, t, shown=value.nan_to_num(0.0)), out)  # unknown is not black


def test_two_texts_a_class_and_a_picture_at_once() -> None:
    parts = (PARTS["text"], Part("style", "text", 4, length=2, width=32), PARTS["picture"])
    network, (x, t) = _network(*parts, classes=3), _x()
    said = {part.name: _value(part) for part in parts}
    label = torch.tensor([0, 1, 2])
    out = network(x, t, label, **said)
    for name in said:
        assert _far(network(x, t, label, **{k: v for k, v in said.items() if k != name}), out), name
    assert _far(network(x, t, None, **said), out)
    assert torch.equal(network(x, t, label=label, **said), out)


def test_a_class_may_be_told_by_the_name_of_label() -> None:
    network, (x, t) = _network(Part("label", "class", 3)), _x()
    assert _far(network(x, t, torch.tensor([0, 1, 2])), network(x, t))
    assert torch.equal(network(x, t, torch.tensor([3, 3, 3])), network(x, t))


def test_half_precision_hears_the_same() -> None:
    parts, (x, t) = tuple(PARTS.values()), _x()
    network = _network(*parts)
    said = {part.name: _value(part) for part in parts}
    exact = network(x, t, **said)
    half = network.to(torch.bfloat16)(x.bfloat16(), t, **said)
    assert half.dtype == torch.bfloat16 and half.isfinite().all()
    # 8 bits, some thirty layers: a few percent of the output's size
    assert float(((half.double() - exact).norm() / exact.norm()).detach()) < 0.1


@pytest.mark.parametrize("spectrum", [None, (8, 6)])
def test_the_output_is_0_at_initialisation_or_the_filter_s(spectrum: tuple[int, int] | None) -> None:
    parts, (x, t) = tuple(PARTS.values()), _x()
    network = UNet(UNetConfig(**SMALL, conditions=parts, spectrum=spectrum)).double()
    out = network(x, t, **{part.name: _value(part) for part in parts})
    expected = torch.zeros_like(x) if network.linear is None else network.linear(x, t)[0]
    assert torch.equal(out, expected)


def test_cross_attention_is_the_identity_at_initialisation() -> None:
    torch.manual_seed(0)
    x, places = torch.randn(2, 12, 5, 4), torch.randn(2, 3, 16)
    assert torch.equal(CrossAttention(12, 16, 4, 4)(x, places, torch.ones(2, 3, dtype=torch.bool)), x)


@pytest.mark.parametrize("positions", [0, 2])
def test_attention_knows_where_a_place_is(positions: int) -> None:
    """A grey picture's places ask alike unless each is told where it is, which reaches the queries past the norm."""
    torch.manual_seed(0)
    cross = CrossAttention(12, 16, 4, 4, positions).double()
    asked = torch.zeros(2, 12, 5, 4, dtype=torch.float64)
    told, mask = torch.randn(2, 3, 16, dtype=torch.float64), torch.ones(2, 3, dtype=torch.bool)
    torch.nn.init.normal_(cross.attend.project.weight)
    out = cross(asked, told, mask)
    assert bool(out.std((2, 3)).max() > 1e-3) == bool(positions)
    if cross.where is not None:
        at = waves(asked, positions)
        assert at is not None
        queries = cross.norm(asked) + torch.einsum("cw,bwij->bcij", cross.where.weight, at) + cross.where.bias[:, None, None]
        expected = cross.attend(queries.flatten(2).mT, told, mask).mT.reshape(asked.shape)
        torch.testing.assert_close(out, expected, rtol=0.0, atol=1e-12)
        alone = Attention(12, 4, 4, positions).double()
        torch.nn.init.normal_(alone.project.weight)
        assert alone(asked).std((2, 3)).max() > 1e-3


@pytest.mark.parametrize("others", [False, True])
def test_attention_is_a_softmax_written_out(others: bool) -> None:
    torch.manual_seed(0)
    attend = Attend(12, 3, 10 if others else None).double()
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    seen = torch.randn(2, 4, 10, dtype=torch.float64) if others else x
    mask = torch.rand(2, seen.shape[1]) > 0.4
    mask[:, 0] = True
    weight, bias = attend.keys_values.weight, attend.keys_values.bias
    q = attend.query(x).reshape(2, 5, 3, 4)
    k = (seen @ weight[:12].T + bias[:12]).reshape(2, -1, 3, 4)
    v = (seen @ weight[12:].T + bias[12:]).reshape(2, -1, 3, 4)
    scores = torch.einsum("bnhd,bmhd->bhnm", q, k) / 4**0.5
    shares = torch.exp(scores) * mask[:, None, None, :]
    mixed = torch.einsum("bhnm,bmhd->bnhd", shares / shares.sum(-1, keepdim=True), v).reshape(2, 5, 12)
    expected = mixed @ attend.project.weight.T + attend.project.bias
    torch.testing.assert_close(attend(x, seen if others else None, mask), expected, rtol=0.0, atol=1e-12)


def test_the_gradient_reaches_every_parameter() -> None:
    parts, (x, t) = tuple(PARTS.values()), _x()
    network = _network(*parts, classes=3)
    network(x, t, torch.tensor([0, 1, 2]), **{part.name: _value(part) for part in parts}).square().mean().backward()
    dead = [name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert dead == []


def test_conditions_come_back_from_json() -> None:
    config = UNetConfig(conditions=tuple(PARTS.values()), classes=2)
    assert UNetConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    old = {k: v for k, v in config.to_dict().items() if k != "conditions"}
    assert UNetConfig.from_dict(old).conditions == ()


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_of_another_shape_or_type_is_an_error(kind: str) -> None:
    part, (x, t) = PARTS[kind], _x()
    network, value = _network(part), _value(part)
    for wrong in (value[:2], value[..., None], value.to(torch.float64 if part.kind in ("class", "text") else torch.int64)):
        with pytest.raises(ValueError, match=f"condition '{part.name}' takes .* but got torch"):
            network(x, t, **{part.name: wrong})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Part("x", "class", 3), "not x, t or self, but is 'x'"),
        (lambda: Part("self", "class", 3), "but is 'self'"),
        (lambda: Part("two words", "class", 3), "but is 'two words'"),
        (lambda: Part("a", "txt", 3), "unknown kind of condition 'txt'; did you mean 'text'"),
        (lambda: Part("a", "class", 0), "size must be a whole number >= 1, but is 0"),
        (lambda: Part("a", "text", 3, layers=True), "layers must be a whole number >= 1, but is True"),
        (
            lambda: Part.from_dict({"name": "a", "kind": "class", "size": 3, "depth": 1}),
            "unknown settings of a condition: depth",
        ),
        (lambda: UNetConfig(conditions=(PARTS["text"], PARTS["text"])), "text is there twice"),
        (lambda: UNetConfig(classes=2, conditions=(Part("label", "text", 3),)), "the condition 'label' is theirs"),
    ],
)
def test_what_can_t_be_a_condition_is_an_error(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_name_that_was_not_agreed_on_is_an_error() -> None:
    x, t = _x()
    with pytest.raises(ValueError, match="unknown condition of this network 'txt'; did you mean 'text'"):
        _network(PARTS["text"])(x, t, txt=_value(PARTS["text"]))
    with pytest.raises(ValueError, match="this U-Net takes no conditions, but was told 'text'"):
        _network()(x, t, text=_value(PARTS["text"]))
    with pytest.raises(ValueError, match="unknown condition of this network 'label'"):
        _network(PARTS["text"])(x, t, torch.tensor([0, 1, 2]))


@pytest.mark.parametrize("kind", [UNet, DiT])
def test_a_text_is_read_once_in_a_run_and_again_in_the_next(kind: type[UNet | DiT], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with guidance, which says text and null anew at each call; other texts in between are read, and all beliefs are
    those of a network that reads each time."""
    text = Part("text", "text", 9, length=4, width=16, layers=1)
    torch.manual_seed(0)
    if kind is UNet:
        network: UNet | DiT = UNet(UNetConfig(channels=(8,), attention=(0,), embedding=16, groups=4, conditions=(text,)))
    else:
        network = DiT(DiTConfig(width=16, depth=1, heads=2, patch=4, conditions=(text,)))
    for parameter in network.parameters():
        parameter.requires_grad_(False).add_(0.1 * torch.randn_like(parameter))
    count = [0]
    assert network.told is not None
    encoder = network.told.by_name["part_text"].encode
    forward = encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda tokens: (count.__setitem__(0, count[0] + 1), forward(tokens))[1])
    null = Condition(text=torch.zeros(1, 4, dtype=torch.int64))
    model = Denoiser(network, schedule("flow"), "velocity", null=null)
    guided = classifier_free(model, 3.0)
    told = Condition(text=torch.tensor([[1, 2, 3, 0], [4, 0, 0, 0]]))
    made = sample(guided, (2, 1, 8, 8), condition=told, steps=5)
    assert count[0] == 1
    again = sample(guided, (2, 1, 8, 8), condition=told, steps=5, batch_size=1)
    assert count[0] == 3 and torch.allclose(made, again, atol=1e-5)
    level = model.schedule.level(0.5)
    run, x = begin(model), torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        for condition in (told, null.expand(2), told):
            assert torch.equal(run(x, level, condition), model(x, level, condition))
    monkeypatch.delattr(kind, "reading")
    assert torch.allclose(sample(guided, (2, 1, 8, 8), condition=told, steps=5), made, atol=1e-6)
