"""A contrastive reader: which of some captions belongs to a picture.  It is trained by itself and never sees a generator.

    picture -> 4 stages of convolution, 2 x 2 pooling and batch norm, 32, 64, 128, 128 wide -> all places -> 128 numbers
    caption -> the sum of a vector for each of its words (their order is not looked at) -> two layers -> 128 numbers

Both are brought to length 1, and the product of a picture with its own caption is made larger than with the others of the
batch, and likewise that of a caption with its own picture, by a softmax whose temperature is learnt (InfoNCE: van den Oord et
al. 1807.03748; both ways, Radford et al. 2103.00020).  Pictures are moved, brightened, tinted and made noisy as they are shown;
they are not mirrored, since captions say left and right.  Words are left out now and then.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from _emoji_world import World
from noisepath import noise
from noisepath.asking.tokens import Tokens, words_of
from noisepath.files import write_whole

WIDTHS = (32, 64, 128, 128)
FEATURES = 128
HOTTEST = 100.0
"""Largest factor on the products: softer than that, single pictures rule the loss."""


@dataclass(frozen=True)
class Recipe:
    """How a reader is trained."""

    steps: int = 400
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    leave_out: float = 0.1
    """Share of the words that are left out as a caption is shown."""
    seed: int = 0


class Net(nn.Module):
    """Pictures (B, 3, S, S) and words (B, L), 0 where there is none, as vectors of length 1."""

    def __init__(self, words: int, side: int) -> None:
        super().__init__()
        ends = zip((3, *WIDTHS), WIDTHS, strict=False)
        places = math.ceil(side / 2 ** len(WIDTHS)) ** 2
        self.look = nn.Sequential(
            *(_stage(before, after) for before, after in ends), nn.Flatten(), nn.Dropout(0.2),
            nn.Linear(WIDTHS[-1] * places, FEATURES),
        )  # fmt: skip
        self.words = nn.Embedding(words + 1, FEATURES, padding_idx=0)
        layers = (nn.LayerNorm(FEATURES), nn.Linear(FEATURES, FEATURES), nn.GELU(), nn.Linear(FEATURES, FEATURES))
        self.hear = nn.Sequential(*layers)
        self.heat = nn.Parameter(torch.tensor(math.log(10.0)))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def of_pictures(self, pictures: Tensor) -> Tensor:
        return F.normalize(self.look(pictures.contiguous(memory_format=torch.channels_last)))

    def of_captions(self, words: Tensor) -> Tensor:
        summed = self.words(words).sum(1)
        return F.normalize(summed + self.hear(summed))

    def factor(self) -> Tensor:
        """What products are multiplied by: the inverse of the temperature."""
        return self.heat.exp().clamp(max=HOTTEST)


def _stage(before: int, after: int) -> nn.Sequential:
    pool = nn.MaxPool2d(2, ceil_mode=True)
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), pool, nn.BatchNorm2d(after), nn.ReLU())


@dataclass(frozen=True, eq=False)
class Reader:
    """A trained reader of pictures of one size."""

    network: Net
    tokens: Tokens
    side: int

    @torch.no_grad()
    def scores(self, pictures: Tensor, captions: Sequence[str]) -> Tensor:
        """How well each picture (N, 3, S, S) and each of M captions go together, (N, M)."""
        seen = torch.cat([self.network.of_pictures(part) for part in torch.split(pictures, 256)])
        return seen @ self.network.of_captions(self.tokens.encode(captions, strict=False, cut=True)).T


# Training ----------------------------------------------------------------------------------------------------------------


def train_reader(world: World, recipe: Recipe | None = None) -> Reader:
    """A reader of these pictures; the same one for the same pictures, recipe, machine and number of threads."""
    recipe = recipe or Recipe()
    tokens = Tokens.of(world.captions, "words")
    words, alike = tokens.encode(world.captions), same_words(world.captions)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(noise.key(recipe.seed, "reader") >> 1)
        network = Net(tokens.size, world.pictures.shape[-1])
        optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=recipe.steps)
        for step, chosen in enumerate(_batches(len(world), recipe)):
            seen = network.of_pictures(varied(world.pictures[chosen], noise.key(recipe.seed, "seen", step)))
            told = network.of_captions(_thinned(words[chosen], recipe, step))
            loss = contrast(seen, told, network.factor(), alike[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            rates.step()
    return Reader(network.eval().requires_grad_(False), tokens, world.pictures.shape[-1])


def contrast(seen: Tensor, told: Tensor, factor: Tensor, alike: Tensor) -> Tensor:
    """InfoNCE both ways; others of the batch with the same words (``alike``, (B,), is the same number) are not held against."""
    products = factor * seen @ told.T
    others = (alike[:, None] == alike[None]) & ~torch.eye(len(seen), dtype=torch.bool)
    products = products.masked_fill(others, -math.inf)
    own = torch.arange(len(seen))
    return (F.cross_entropy(products, own) + F.cross_entropy(products.T, own)) / 2


def same_words(captions: Sequence[str]) -> Tensor:
    """A number for each caption, the same for those that have the same words in any order, (N,)."""
    numbers: dict[tuple[str, ...], int] = {}
    return torch.tensor([numbers.setdefault(tuple(sorted(words_of(caption))), len(numbers)) for caption in captions])


def varied(pictures: Tensor, key: int) -> Tensor:
    """Pictures moved by up to an eighth of their side, brightened, tinted and made noisy, each by draws of its own."""
    count, _, side, _ = pictures.shape
    draws = torch.rand(10, count, generator=torch.Generator().manual_seed(key >> 1))
    reach = side // 8
    down, right = ((2 * reach + 1) * draws[:2]).long() - reach
    places = torch.arange(side)
    rows = (places - down[:, None]).clamp(0, side - 1)[:, :, None]
    columns = (places - right[:, None]).clamp(0, side - 1)[:, None, :]
    moved = pictures[torch.arange(count)[:, None, None], :, rows, columns].permute(0, 3, 1, 2)
    gain, tint = 0.85 + 0.3 * draws[2], 0.2 * (draws[3:6] - 0.5)
    noisy = noise.normal(key, range(count), pictures.shape[1:]) * (0.15 * draws[6])[:, None, None, None]
    return moved * gain[:, None, None, None] + tint.T[:, :, None, None] + noisy


def _thinned(words: Tensor, recipe: Recipe, step: int) -> Tensor:
    """Without some of the words; the first of a caption stays, so that something is said."""
    generator = torch.Generator().manual_seed(noise.key(recipe.seed, "left out", step) >> 1)
    kept = torch.rand(words.shape, generator=generator) >= recipe.leave_out
    kept[:, 0] = True
    return words * kept


def _batches(count: int, recipe: Recipe) -> list[Tensor]:
    """Which pictures each step shows: epoch after epoch, each in an order of its own."""
    size = min(count, recipe.batch_size)
    found: list[Tensor] = []
    for epoch in range(math.ceil(recipe.steps / (count // size))):
        generator = torch.Generator().manual_seed(noise.key(recipe.seed, "order", epoch) >> 1)
        order = torch.randperm(count, generator=generator)
        found += [order[start : start + size] for start in range(0, count - size + 1, size)]
    return found[: recipe.steps]


# Files -------------------------------------------------------------------------------------------------------------------


def save_reader(reader: Reader, path: Path) -> None:
    """Its weights, its words and the size of its pictures, as one file."""
    from safetensors.torch import save

    about = {"words": json.dumps(reader.tokens.words), "length": str(reader.tokens.length), "side": str(reader.side)}
    weights = {name: value.contiguous() for name, value in reader.network.state_dict().items()}
    with write_whole(path) as part:
        part.write_bytes(save(weights, about))


def load_reader(path: Path) -> Reader:
    """The inverse of :func:`save_reader`."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        about = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tokens = Tokens("words", int(about["length"]), tuple(json.loads(about["words"])))
    network = Net(tokens.size, int(about["side"]))
    network.load_state_dict(weights)
    return Reader(network.eval().requires_grad_(False), tokens, int(about["side"]))
