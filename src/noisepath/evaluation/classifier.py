"""A small classifier of the user's own classes: what reads the samples, and gives the features between.

    x -> (means of f x f pixels) -> 3 stages of convolution, 2 x 2 pooling and batch norm, 32, 64, 128 wide
      -> two more convolutions around a skip -> mean over places = the features (128) -> one number for each class

It is trained by a fixed recipe on the pictures that the generator was trained on: AdamW, a rate that rises and falls
linearly, pictures shifted by up to an eighth of their side (mirrored only if asked).  Everything random in it is a hash of
(seed, epoch, ...): the same pictures give the same classifier on the same machine and number of threads.  Seconds for
thousands of digits, a few minutes for tens of thousands of small photographs.

    FOLDER/classifier.safetensors, classifier.json
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from noisepath import noise
from noisepath.data.dataset import Data
from noisepath.evaluation.pictures import read, shrunk
from noisepath.evaluation.space import hash_of
from noisepath.files import write_whole

__all__ = ["Classifier", "Recipe", "load_classifier", "save_classifier", "train_classifier"]

_FORMAT = "noisepath classifier 1"
_WEIGHTS, _ABOUT = "classifier.safetensors", "classifier.json"
_WIDTHS = (32, 64, 128)
SMALLEST = 8
"""Pixels that each side of a picture must have."""


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained; the defaults serve from hundreds to hundreds of thousands of pictures."""

    epochs: int | None = None
    """How often each picture is shown; if not given, 10 times, more often if they are few, less if they are very many."""
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    smoothing: float = 0.05
    """Share of the target that is spread over all classes."""
    flip: bool = False
    """Mirror half of the pictures left to right."""
    seed: int = 0

    def length(self, count: int) -> int:
        """The number of epochs for so many pictures: about 40,000 shown at least, 200,000 at most, and 40 epochs at most."""
        if self.epochs is not None:
            return self.epochs
        shown = min(max(40_000, 10 * count), 200_000)
        return min(40, max(1, round(shown / count)))


class _Net(nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        ends = zip((channels, *_WIDTHS), _WIDTHS, strict=False)
        self.stages = nn.Sequential(*(_convolution(before, after, pool=True) for before, after in ends))
        self.around = nn.Sequential(*(_convolution(_WIDTHS[-1], _WIDTHS[-1], pool=False) for _ in range(2)))
        self.read = nn.Linear(_WIDTHS[-1], classes)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, x: Tensor) -> Tensor:
        """(B, 128)."""
        # channels last, and the pooling first: together half the time on a CPU
        h = self.stages(shrunk(x).contiguous(memory_format=torch.channels_last))
        features: Tensor = (h + self.around(h)).mean((2, 3))
        return features

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.read(self.features(x))
        return logits


def _convolution(before: int, after: int, pool: bool) -> nn.Sequential:
    halved = [nn.MaxPool2d(2, ceil_mode=True)] if pool else []
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), *halved, nn.BatchNorm2d(after), nn.ReLU())


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained classifier: what it reads, how well, and which pictures made it."""

    network: nn.Module
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    trained_on: int
    """How many pictures it was trained on."""
    right: int
    """How many held-out pictures it read right ..."""
    of: int
    """... of so many; 0 if none were held out."""
    made_from: str = ""
    """What it was trained from, as who trained it says: to know whether it is still the right one."""

    @property
    def accuracy(self) -> float | None:
        """Share of the held-out pictures that it read right."""
        return self.right / self.of if self.of else None

    @property
    def identity(self) -> str:
        """sha256 of the weights."""
        return hash_of(self.network.state_dict().items())

    def features(self, pictures: Tensor) -> Tensor:
        """The layer before last, for pictures (B, C, H, W) in [-1, 1]: (B, 128)."""
        features: Tensor = self.network.features(pictures.to(_device(self.network)))  # type: ignore[operator]
        return features

    @torch.no_grad()
    def read(self, pictures: Tensor, batch_size: int = 256) -> Tensor:
        """The class that each picture is read as, (N,) int64 on the CPU."""
        if tuple(pictures.shape[1:]) != self.shape:
            raise ValueError(f"pictures must be (N, {', '.join(map(str, self.shape))}), but are {tuple(pictures.shape)}")
        device = _device(self.network)
        return torch.cat([self.network(part.to(device)).argmax(1).cpu() for part in torch.split(pictures, batch_size)])


def train_classifier(
    data: Data,
    held_out: Data | None = None,
    recipe: Recipe | None = None,
    *,
    device: str = "cpu",
    progress: bool = True,
    made_from: str = "",
) -> Classifier:
    """Train a classifier on ``data``, which has at least two classes, and count what it reads right of ``held_out``.

    ValueError for pictures without classes, or smaller than 8 pixels.
    """
    recipe = recipe or Recipe()
    labels = data.labels
    if labels is None or len(data.class_names) < 2:
        raise ValueError(f"a classifier needs pictures of at least two classes, but these have {len(data.class_names)}")
    if min(data.shape[1:]) < SMALLEST:
        raise ValueError(f"a classifier needs pictures of at least {SMALLEST} pixels a side, but these are {data.shape[1:]}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(noise.key(recipe.seed, "classifier") >> 1)
        network = _Net(data.shape[0], len(data.class_names)).to(device)
    _fit(network, data, recipe, device, progress)
    network.eval().requires_grad_(False)
    classifier = Classifier(network, data.class_names, data.shape, len(data), 0, 0, made_from)
    if held_out is None or not len(held_out):
        return classifier
    right, of = _count_right(classifier, held_out)
    return Classifier(network, data.class_names, data.shape, len(data), right, of, made_from)


def _fit(network: _Net, data: Data, recipe: Recipe, device: str, progress: bool) -> None:
    from tqdm import tqdm

    epochs = recipe.length(len(data))
    per_epoch = math.ceil(len(data) / recipe.batch_size)
    total = epochs * per_epoch
    groups = [
        {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in network.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)
    network.train()
    with tqdm(total=total, unit="step", desc="classifier", disable=not progress) as bar:
        for epoch in range(epochs):
            for place, indices in enumerate(_batches(len(data), recipe, epoch)):
                for group in optimizer.param_groups:
                    group["lr"] = recipe.learning_rate * _rise_and_fall(epoch * per_epoch + place, total)
                x, labels, _ = read(data, indices)
                assert labels is not None
                x = _shifted(x, noise.key(recipe.seed, "classifier shift", epoch, place), recipe.flip)
                loss = F.cross_entropy(network(x.to(device)), labels.to(device), label_smoothing=recipe.smoothing)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                bar.update()


def _batches(count: int, recipe: Recipe, epoch: int) -> list[list[int]]:
    """An epoch's order, cut into batches of nearly the same size: none is left with a single picture, if there are two."""
    generator = torch.Generator().manual_seed(noise.key(recipe.seed, "classifier order", epoch) >> 1)
    order = torch.randperm(count, generator=generator)
    return [part.tolist() for part in torch.tensor_split(order, math.ceil(count / recipe.batch_size))]


def _rise_and_fall(step: int, total: int, warm: float = 0.15) -> float:
    """Share of the highest rate: up over the first part of the run, down to nearly 0 over the rest."""
    done = (step + 0.5) / total
    return done / warm if done < warm else (1 - done) / (1 - warm)


def _shifted(x: Tensor, key: int, flip: bool) -> Tensor:
    """Each picture moved by up to an eighth of its side, its edge drawn out; and half of them mirrored if asked."""
    batch, _, height, width = x.shape
    draws = noise.uniform(key, range(3 * batch)).view(3, batch)
    reach = torch.tensor([height // 8, width // 8])[:, None]
    down, right = ((2 * reach + 1) * draws[:2]).long() - reach
    rows = (torch.arange(height) - down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width) - right[:, None]).clamp(0, width - 1)
    if flip:
        columns = torch.where(draws[2][:, None] < 0.5, columns.flip(1), columns)
    return x[torch.arange(batch)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def _count_right(classifier: Classifier, data: Data) -> tuple[int, int]:
    right = of = 0
    for start in range(0, len(data), 256):
        try:
            x, labels, _ = read(data, range(start, min(start + 256, len(data))))
        except ValueError:
            continue  # not one picture of this part can be read: it counts neither way
        assert labels is not None
        right, of = right + int((classifier.read(x) == labels).sum()), of + len(labels)
    return right, of


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def save_classifier(classifier: Classifier, folder: str | Path) -> Path:
    """Write (or replace) a classifier in a folder, which is made if need be."""
    from safetensors.torch import save

    weights = {name: value.detach().cpu().contiguous() for name, value in classifier.network.state_dict().items()}
    about = {
        name: value for name, value in vars(classifier).items() if name != "network"
    } | {"format": _FORMAT, "accuracy": classifier.accuracy, "identity": classifier.identity}  # fmt: skip
    path = Path(folder)
    with write_whole(path / _WEIGHTS) as part:
        part.write_bytes(save(weights))
    with write_whole(path / _ABOUT) as part:
        part.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return path


def load_classifier(folder: str | Path, device: str = "cpu") -> Classifier:
    """The inverse of :func:`save_classifier`.

    Raises:
        FileNotFoundError: no classifier there.
        ValueError: a file that is damaged, or not a classifier's, or weights that are not those it was saved with.
    """
    path = Path(folder)
    about = _about(path / _ABOUT)
    network = _Net(about["shape"][0], len(about["class_names"]))
    _fill(network, path / _WEIGHTS)
    network = network.eval().requires_grad_(False).to(device)
    told = {name: about[name] for name in ("trained_on", "right", "of", "made_from")}
    classifier = Classifier(network, tuple(about["class_names"]), tuple(about["shape"]), **told)
    if classifier.identity != about["identity"]:
        raise ValueError(f"{str(path / _WEIGHTS)!r} is damaged: its weights are not those that {_ABOUT} names")
    return classifier


def _about(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no classifier in {str(path.parent)!r}: no {path.name}")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not JSON: {error}") from error
    if not isinstance(about, dict) or about.get("format") != _FORMAT or not _fits(about):
        raise ValueError(f"{str(path)!r} does not describe a noisepath classifier ({_FORMAT!r})")
    return about


def _fits(about: dict[str, Any]) -> bool:
    """Whether each entry is there and of its kind."""
    shape, names = about.get("shape"), about.get("class_names")
    whole = isinstance(shape, list) and len(shape) == 3 and all(isinstance(n, int) and 1 <= n <= 65_536 for n in shape)
    named = isinstance(names, list) and 2 <= len(names) <= 1_000_000 and all(isinstance(name, str) for name in names)
    counted = all(isinstance(about.get(name), int) for name in ("trained_on", "right", "of"))
    return whole and named and counted and all(isinstance(about.get(name), str) for name in ("made_from", "identity"))


def _fill(network: nn.Module, path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"there is no {str(path)!r}")
    try:
        with safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{str(path)!r} is damaged or no safetensors file: {error}") from error
    here = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    if here != {name: tuple(value.shape) for name, value in weights.items()}:
        raise ValueError(f"{str(path)!r} does not fit its {_ABOUT}: other weights, or of other shapes")
    network.load_state_dict(weights)
