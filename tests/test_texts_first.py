"""Texts first: what a text encoder learns before its network, held against the mean pictures that are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from conftest import Margin
from noisepath.data import Dataset, shapes
from noisepath.nn import UNet, UNetConfig
from noisepath.nn.expected import Expected
from noisepath.nn.parts import Part
from noisepath.training import TrainConfig, train
from noisepath.training.plan import texts_first
from noisepath.training.record import read_run
from noisepath.training.run import build
from noisepath.training.texts_first import read_first, reading_parts
from noisepath.training.trainer import Trainer

NOISE = 0.3
"""Deviation of what no text says."""
WORDS = {"bright": 0.5, "dark": -0.5}
SMALL: dict[str, Any] = {
    "size": "tiny", "channels": (16, 16), "text_width": 32, "text_layers": 1, "linear": False, "precision": "float32",
}  # fmt: skip


def trainer_of(texts: list[str], means: torch.Tensor, **changes: Any) -> Trainer:
    """On pictures of 8 x 8 pixels that are these means and noise."""
    generator = torch.Generator().manual_seed(7)
    x = means[:, None, None, None] + NOISE * torch.randn(len(texts), 1, 8, 8, generator=generator)
    pictures = ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    data = Dataset(pictures, names=tuple(map(str, range(len(texts)))), captions=tuple(texts))
    made = build(data, TrainConfig(**{**SMALL, "batch_size": 32, **changes}))
    return made.make(made.config, 1)


def two_words(count: int = 512, *, told: bool = True, seed: int = 0) -> Trainer:
    words = [list(WORDS)[i % 2] for i in range(count)]
    means = torch.tensor([WORDS[word] for word in words])
    if not told:
        means = means[torch.randperm(count, generator=torch.Generator().manual_seed(3))]
    return trainer_of([f"a {word} one" for word in words], means, seed=seed)


@pytest.mark.trained
def test_what_is_left_is_what_no_text_says(margin: Margin, trained_seed: int) -> None:
    """The least error is the variance within a text, 0.09 (a little less, as pictures end at 1), of 0.25 + 0.09 in all."""
    trainer = two_words(seed=trained_seed)
    x = trainer.data.batch(range(512))[0]
    within = torch.cat([x[::2] - x[::2].mean(0), x[1::2] - x[1::2].mean(0)]).square().mean()
    least = float(within) / trainer.data.sigma_data**2
    assert 0.2 < least < 0.3
    said, network = read_first(trainer, 100), trainer.network
    words = trainer.condition(range(512), x)
    assert words is not None
    with torch.no_grad():
        heard = network.told({"text": words["text"]}, x)
        off = network.expected(heard.places, heard.mask)[1] - F.interpolate(x, (32, 32), mode="area")
    # each word's own mean at each pixel is what is best on these very pictures
    left = float(off.square().mean()) / trainer.data.sigma_data**2
    assert least * 0.999 < left  # exact: no means are better
    margin("left of the least", left / least, at_most=1.05)
    margin("said of the last steps, in which it still learned", said / left, at_least=0.9)
    margin("said at most", said / left, at_most=2.0)
    # and of 50 steps in which nothing is left to learn: so many squares' mean is within 1 % at 2 deviations
    again = read_first(trainer, 50) / least
    margin("said of 50 more", again, at_most=1.1)
    margin("said of 50 more, at least", again, at_least=0.95)


@pytest.mark.trained
def test_nothing_is_learned_of_texts_that_say_nothing(margin: Margin, trained_seed: int) -> None:
    left = read_first(two_words(told=False, seed=trained_seed), 60)
    margin("left", left, at_least=0.9)
    margin("left at most", left, at_most=1.2)


def test_what_reads_alone_learns_and_each_time_the_same() -> None:
    first, second = two_words(64), two_words(64)
    before = {name: value.clone() for name, value in first.network.state_dict().items()}
    draws = torch.random.get_rng_state()
    one = read_first(first, 3)
    assert torch.equal(torch.random.get_rng_state(), draws)
    torch.rand(1)  # others may draw between
    assert read_first(second, 3) == one
    after = first.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".")[0] for name in changed} == {"told", "expected"}
    assert all(name.startswith(("told.by_name.part_text.", "expected.")) for name in changed)
    assert all(torch.equal(value, second.network.state_dict()[name]) for name, value in after.items())
    assert first.done == 0 and all(p.grad is None for name, p in first.network.named_parameters() if name not in changed)


def test_a_mean_picture_that_is_not_the_network_s_begins_with_draws_of_the_seed() -> None:
    """Whatever torch's own generator has come to, and that one is left as it is."""
    found = []
    for used in (0, 1):
        trainer = two_words(64)
        trainer.network.expected = None
        torch.manual_seed(used)
        draws = torch.random.get_rng_state()
        found.append(read_first(trainer, 2))
        assert torch.equal(torch.random.get_rng_state(), draws)
    assert found[0] == found[1]


def test_the_encoder_of_a_network_without_a_mean_picture_reads_too_and_each_time_the_same() -> None:
    """What says the mean picture there is drawn anew, by the run's seed."""
    texts = [f"a {list(WORDS)[i % 2]} one" for i in range(64)]
    first, second = (trainer_of(texts, torch.zeros(64), network="dit", channels=None) for _ in range(2))
    assert list(reading_parts(first.network)) == ["told.by_name.part_text"]
    before = {name: value.clone() for name, value in first.network.state_dict().items()}
    one = read_first(first, 3)
    torch.rand(1)  # others may draw between
    assert read_first(second, 3) == one
    after = first.network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith("told.by_name.part_text.") for name in changed)
    assert all(torch.equal(value, second.network.state_dict()[name]) for name, value in after.items())


def test_a_network_without_texts_has_nothing_to_read() -> None:
    made = build(replace(shapes(12), captions=None), TrainConfig(size="tiny", linear=False))
    trainer = made.make(made.config, 1)
    assert made.config.text_steps is None and reading_parts(trainer.network) == {} and read_first(trainer, 5) == 1.0


def test_an_expected_picture_begins_as_0_and_hears_only_what_is_said() -> None:
    torch.manual_seed(0)
    mean = Expected(24, 32, 3)
    told = torch.randn(2, 5, 24)
    mask = torch.tensor([[True] * 3 + [False] * 2] * 2)
    features, picture = mean(told, mask)
    assert features.shape == (2, 32, 8, 8) and torch.equal(picture, torch.zeros(2, 3, 32, 32))
    torch.nn.init.normal_(mean.leave.weight)
    other = told.clone()
    other[:, 3:] += 1.0
    assert torch.equal(mean(told, mask)[1], mean(other, mask)[1])
    other[:, :3] += 1.0
    assert not torch.allclose(mean(told, mask)[1], mean(other, mask)[1])


@pytest.mark.parametrize("size", [(32, 32), (20, 12)])
def test_a_network_is_told_what_its_text_makes_it_expect(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    text = Part("text", "text", 9, length=4, width=16, layers=1)
    network = UNet(UNetConfig(in_channels=3, out_channels=3, channels=(16, 16), conditions=(text,), expects=32, fold=2))
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn_like(p))
    x, t, told = torch.randn(2, 3, *size), torch.zeros(2), torch.tensor([[3, 4, 0, 0], [0, 0, 0, 0]])
    plain = network(x, t, text=told)
    assert plain.shape == x.shape
    assert network.expected is not None
    for part in (network.expected.leave, network.tell):  # by its picture, and by its features
        assert part is not None
        kept = part.weight.clone()
        with torch.no_grad():
            part.weight.add_(torch.randn_like(kept))
            assert not torch.allclose(network(x, t, text=told), plain, atol=1e-4)
            part.weight.copy_(kept)


@pytest.mark.parametrize(
    ("config", "pictures", "steps"),
    [
        (TrainConfig(), 20_000, 400),
        (TrainConfig(), 1_000, 62),  # each text four times
        (TrainConfig(steps=100), 20_000, 25),  # a fourth of the run
        (TrainConfig(steps=3), 20_000, 0),
        (TrainConfig(minutes=2.0), 20_000, 80),
        (TrainConfig(minutes=30.0), 20_000, 400),
        (TrainConfig(minutes=30.0, text_steps=7), 20_000, 7),
        (TrainConfig(text_steps=0), 20_000, 0),
    ],
)
def test_how_long_texts_are_read(config: TrainConfig, pictures: int, steps: int) -> None:
    text = Part("text", "text", 40, length=8)
    settled, choices = texts_first(config, pictures, (text,))
    assert settled.text_steps == steps and bool(choices) == (config.text_steps is None)
    assert texts_first(TrainConfig(), pictures, (Part("label", "class", 3),)) == (TrainConfig(), [])


def test_a_run_begins_with_texts_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    config = TrainConfig(**SMALL, steps=1, batch_size=4)
    for name, steps in (("with", 1), ("without", 0)):
        train(shapes(24), tmp_path / name, replace(config, text_steps=steps), progress=False, say=said.append)
        assert read_run(tmp_path / name).train.text_steps == steps
        assert any("texts are read" in line for line in said) == bool(steps)
        said.clear()
    one, other = (tmp_path / name / "checkpoints/step-000001/model.safetensors" for name in ("with", "without"))
    assert one.read_bytes() != other.read_bytes()


def test_a_number_of_steps_below_0_is_refused() -> None:
    with pytest.raises(ValueError, match="text_steps must be a whole number >= 0, but is -1"):
        TrainConfig(text_steps=-1)
    with pytest.raises(ValueError, match="text_steps = 7 is for captions whose encoder trains along, and there are none"):
        texts_first(TrainConfig(text_steps=7), 100, (Part("label", "class", 3),))
