"""A picture that is told in low resolution or in part: how it is made of the picture, and a model that goes by it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from conftest import Margin
from noisepath import classifier_free, load, noise, sample
from noisepath.asking import Pictured, Vocabulary
from noisepath.asking.pictured import DRAWS, known_parts
from noisepath.cli import main
from noisepath.conditions import Condition
from noisepath.data import Dataset
from noisepath.training.config import TrainConfig
from noisepath.training.run import train

BOTH = ("low_resolution", "known")
PLAIN = Dataset(torch.linspace(-0.9, 0.9, 40).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous())
"""Pictures of one grey each: a part of one says what the rest is."""


def drawn(samples: range, height: int, width: int) -> Tensor:
    return known_parts([noise.uniform(noise.key(0, k), samples) for k in range(DRAWS)], height, width)


def test_low_resolution_is_the_mean_of_the_pixels() -> None:
    vocabulary = Vocabulary.of(PLAIN, BOTH, low_resolution=4)
    x = torch.arange(64.0).view(1, 1, 8, 8) / 64
    low = vocabulary.seen(x, 0, 0, [0])["low_resolution"]
    assert torch.allclose(low, x.view(1, 1, 4, 2, 4, 2).mean((3, 5)))


def test_what_is_known_is_the_picture_itself_and_the_rest_says_nothing() -> None:
    x = torch.rand(50, 3, 8, 8)
    known = Pictured("known", 3, 8, 8).of(x, 0, 3, range(50))
    there = ~known.isnan()
    assert torch.equal(known[there], x[there])
    assert torch.equal(there.all(1), there.any(1))  # a pixel is known in all channels or none


def test_parts_are_holes_edges_and_halves() -> None:
    """Of 4,000: half have a hole, so they know all four corners; deviation of a share 0.008.  None knows all, or nothing."""
    parts = drawn(range(4000), 16, 16)
    share = parts.float().mean((1, 2, 3))
    corners = parts[:, 0][:, [0, 0, -1, -1], [0, -1, 0, -1]].sum(1)
    assert float(share.min()) > 0.0 and float(share.max()) < 1.0
    # a hole reaches a corner where it lies at the edge to half a pixel, which few do
    assert 0.44 < float((corners >= 3).float().mean()) < 0.62
    assert abs(float(share.mean()) - (0.5 * 0.75 + 0.25 * 0.25 + 0.25 * 0.5)) < 0.03


def test_what_is_seen_of_a_sample_does_not_depend_on_its_batch() -> None:
    vocabulary = Vocabulary.of(PLAIN, BOTH)
    x = torch.rand(6, 1, 8, 8)
    whole, part = vocabulary.seen(x, 1, 2, range(10, 16)), vocabulary.seen(x[2:4], 1, 2, [12, 13])
    for name in BOTH:
        assert torch.equal(whole[name][2:4].nan_to_num(9.0), part[name].nan_to_num(9.0))
    assert not torch.equal(vocabulary.seen(x, 1, 3, range(10, 16))["known"].isnan(), whole["known"].isnan())


def test_it_goes_through_json_and_can_be_left_out() -> None:
    vocabulary = Vocabulary.of(PLAIN, BOTH)
    again = Vocabulary.from_info((), vocabulary.others)
    assert again.entries == vocabulary.entries and again.entries["low_resolution"].height == 2
    told, null = again.condition(2, known=[torch.zeros(1, 8, 8), None]), again.null()
    assert told is not None and null is not None
    assert bool(told["known"][1].isnan().all()) and bool(told["low_resolution"].isnan().all())
    joined = Condition.cat([told, null.expand(2)])  # the null of a picture is one pixel
    assert joined["known"].shape == (4, 1, 8, 8) and bool(joined["known"][2:].isnan().all())


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"known": torch.zeros(1, 4, 4)}, r"known takes a picture: floats of shape \(1, 8, 8\)"),
        ({"known": torch.full((1, 8, 8), 2.0)}, "reach 2.0"),
        ({"known": "a.png"}, "got 'a.png'"),
        ({"low_resolution": torch.zeros(1, 2, 2, dtype=torch.int64)}, "got torch.int64"),
        ({"low_res": torch.zeros(1, 2, 2)}, "did you mean 'low_resolution'"),
    ],
)
def test_what_is_no_such_picture_is_refused(asked: dict[str, object], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Vocabulary.of(PLAIN, BOTH).condition(1, **asked)


def test_sizes_that_can_not_be() -> None:
    with pytest.raises(ValueError, match="1 to 7 pixels of pictures of 8, but is 8"):
        Vocabulary.of(PLAIN, BOTH, low_resolution=8)
    with pytest.raises(ValueError, match="add it to the conditions"):
        Vocabulary.of(PLAIN, ("known",), low_resolution=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, trained_seed: int) -> Path:
    folder = tmp_path_factory.mktemp("pictured") / "run"
    config = TrainConfig(
        steps=200, batch_size=16, conditions=BOTH, drop_each=0.15, channels=(8, 16), learning_rate=5e-3, warmup=20,
        precision="float32", sample_every=200, seed=trained_seed,
    )  # fmt: skip
    train(PLAIN, folder, config, progress=False)
    return folder


@pytest.mark.trained
@pytest.mark.parametrize("name", BOTH)
def test_a_trained_model_draws_what_it_is_shown(run: Path, name: str, margin: Margin) -> None:
    """All of a picture is the grey that a part of it, or itself in low resolution, has; without them it is any grey."""
    model = load(run)
    assert model.vocabulary is not None
    told = model.vocabulary.entries[name]
    greys = torch.tensor([0.6, -0.6]).repeat(8)
    shown = greys.view(-1, 1, 1, 1).expand(-1, 1, told.height, told.width).clone()
    if name == "known":
        shown[:, :, :4] = torch.nan
    condition = model.vocabulary.condition(16, **{name: list(shown)})
    made = sample(classifier_free(model, 2.0), (16, 1, 8, 8), condition=condition, steps=8).mean((1, 2, 3))
    free = sample(model, (32, 1, 8, 8), condition=model.vocabulary.condition(32), steps=8).mean((1, 2, 3))
    margin("correlation with what is shown", float(torch.corrcoef(torch.stack([made, greys]))[0, 1]), at_least=0.4)
    margin("deviation of what nothing is shown to", float(free.std()), at_least=0.1)


@pytest.mark.trained
def test_a_picture_file_is_told_on_the_command_line(run: Path, tmp_path: Path, margin: Margin) -> None:
    grey = round((0.6 + 1) * 127.5)
    half = Image.new("LA", (16, 16), (grey, 255))
    half.paste((0, 0), (0, 0, 16, 8))
    half.save(tmp_path / "part.png")
    words = ["--say", f"known={tmp_path / 'part.png'}", "--guidance", "2", "--n", "8", "--steps", "8"]
    words += ["--out", str(tmp_path / "new")]
    assert main(["sample", str(run), *words, "--no-progress"]) == 0
    made = [Image.open(path) for path in sorted((tmp_path / "new").glob("*.png")) if path.name != "grid.png"]
    assert len(made) == 8 and all(image.info["known"] == str(tmp_path / "part.png") for image in made)
    # pictures that go by nothing are 76 off on the average
    off = np.mean([np.asarray(image.convert("L")).mean() for image in made]) - grey
    margin("off the grey that is shown, of 255", abs(float(off)), at_most=60)
    assert main(["sample", str(run), "--say", "known=nowhere.png", "--n", "1", "--out", str(tmp_path / "other")]) == 2
