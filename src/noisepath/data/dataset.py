"""Data: what a run asks of its pictures; ``Dataset``, which holds all of them in memory; splitting, order and changes.

Which picture a run looks at as its n-th is a function of (seed, n) alone: each epoch is a new order of all of them.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from noisepath import noise
from noisepath.data.config import DataConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Data", "Dataset", "changed", "described", "digits", "holdout_size", "order", "shown", "some", "split", "unit"]


class Data(Protocol):
    """Pictures of one shape, asked for by their index; what is named here is all that training and evaluation use."""

    def __len__(self) -> int: ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one picture."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; () if the pictures have none."""

    @property
    def classes(self) -> int:
        """How many classes there are."""

    @property
    def labels(self) -> Tensor | None:
        """The class of each picture, int64 (N,)."""

    @property
    def mean(self) -> float:
        """Mean of all values, in [-1, 1]."""

    @property
    def sigma_data(self) -> float:
        """Standard deviation of all values, at least 0.01."""

    @property
    def names(self) -> Sequence[str]:
        """What each picture is called: its file's name relative to the root, where it has one."""

    @property
    def captions(self) -> tuple[str, ...] | None:
        """A text for each picture."""

    @property
    def attributes(self) -> tuple[dict[str, object], ...] | None:
        """What else is known of each picture."""

    @property
    def fingerprint(self) -> str:
        """A hash that changes if the pictures, their labels or their form do."""

    @property
    def listing(self) -> dict[str, list[int]]:
        """Name -> size and time of change (or check sum) of everything that was read."""

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Pictures float32 in [-1, 1], (B, C, H, W), and their labels; ValueError names a picture that can't be read."""

    def subset(self, indices: Sequence[int]) -> Self:
        """These pictures alone, in this order; shape, classes, mean and sigma_data stay those of the whole."""

    def shown(self, seed: int, samples: Iterable[int]) -> list[int]:
        """Which pictures a run with this seed looks at as its n-th, for each n of ``samples``."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Pictures (N, C, H, W) and, where they have classes, a label (N,) for each.

    ``pictures`` are float32 in [-1, 1], or uint8 in 0 .. 255 to save memory; ``labels`` are int64 in
    0 .. len(class_names) - 1.
    """

    pictures: Tensor
    labels: Tensor | None = None
    class_names: tuple[str, ...] = ()
    names: Sequence[str] = ()
    """What each picture is called; "picture 17" if not given."""
    captions: tuple[str, ...] | None = None
    attributes: tuple[dict[str, object], ...] | None = None
    moments: tuple[float, float] | None = None
    """Mean and standard deviation to go by in place of these pictures' own."""
    source: str = ""
    """The word or path by which :func:`noisepath.data.open_data` finds these pictures again; empty if there is none."""

    def __post_init__(self) -> None:
        self._check()
        if not self.names:
            object.__setattr__(self, "names", tuple(f"picture {i}" for i in range(len(self.pictures))))
        for name in ("names", "captions", "attributes"):
            if (given := getattr(self, name)) is not None and len(given) != len(self.pictures):
                raise ValueError(f"{name} must be one for each of {len(self.pictures)} pictures, but are {len(given)}")

    def _check(self) -> None:
        pictures, labels = self.pictures, self.labels
        if pictures.ndim != 4 or 0 in pictures.shape:
            raise ValueError(f"pictures must be (N, C, H, W) with none of them 0, but their shape is {tuple(pictures.shape)}")
        if pictures.dtype not in (torch.float32, torch.uint8):
            raise ValueError(f"pictures must be float32 in [-1, 1] or uint8 in 0 .. 255, but are {pictures.dtype}")
        if pictures.dtype == torch.float32 and not (pictures.abs().amax() <= 1.0):
            raise ValueError("float32 pictures must be in [-1, 1], but some values are outside, or NaN")
        if (labels is None) != (not self.class_names):
            raise ValueError("labels and class_names come together")
        if labels is not None and (labels.shape != pictures.shape[:1] or labels.dtype != torch.int64):
            raise ValueError(
                f"labels must be int64 of shape ({len(pictures)},), but are {labels.dtype} of shape {tuple(labels.shape)}"
            )
        if labels is not None and not (int(labels.min()) >= 0 and int(labels.max()) < len(self.class_names)):
            raise ValueError(
                f"labels must be in 0 .. {len(self.class_names) - 1}, but are in {int(labels.min())} .. {int(labels.max())}"
            )

    def __len__(self) -> int:
        return len(self.pictures)

    def __repr__(self) -> str:
        return described(self)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one picture."""
        _, c, h, w = self.pictures.shape
        return c, h, w

    @property
    def classes(self) -> int:
        """Number of classes; 0 if the pictures have none."""
        return len(self.class_names)

    @property
    def mean(self) -> float:
        """Mean of all values, in [-1, 1] units."""
        return self._moments[0]

    @property
    def sigma_data(self) -> float:
        """Standard deviation of all values, in [-1, 1] units; that of pictures which are all one value counts as 0.01."""
        return max(0.01, self._moments[1])

    @cached_property
    def _moments(self) -> tuple[float, float]:
        if self.moments is not None:
            return self.moments
        values = unit(self.pictures[torch.linspace(0, len(self) - 1, min(len(self), 10_000)).long()]).double()
        return float(values.mean()), float(values.std(correction=0))

    @cached_property
    def listing(self) -> dict[str, list[int]]:
        """Name -> bytes and check sum of each picture."""
        rows = self.pictures.contiguous().numpy()
        return {name: [row.nbytes, zlib.crc32(row)] for name, row in zip(self.names, rows, strict=True)}

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the pictures and their labels."""
        found = hashlib.sha256(repr((tuple(self.pictures.shape), str(self.pictures.dtype), self.class_names)).encode())
        found.update(self.pictures.contiguous().numpy().data)
        if self.labels is not None:
            found.update(self.labels.contiguous().numpy().data)
        return found.hexdigest()

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Pictures float32 in [-1, 1], (B, C, H, W), and their labels."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return unit(self.pictures[chosen]), None if self.labels is None else self.labels[chosen]

    def subset(self, indices: Sequence[int]) -> Dataset:
        """These pictures alone, in this order; mean and sigma_data stay those of the whole."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return replace(
            self,
            pictures=self.pictures[chosen],
            labels=None if self.labels is None else self.labels[chosen],
            names=tuple(self.names[i] for i in indices),
            captions=None if self.captions is None else tuple(self.captions[i] for i in indices),
            attributes=None if self.attributes is None else tuple(self.attributes[i] for i in indices),
            moments=self._moments,
        )

    def shown(self, seed: int, samples: Iterable[int]) -> list[int]:
        """Which pictures a run with this seed looks at as its n-th, for each n of ``samples``."""
        return shown(len(self), seed, samples)


def described(data: Data) -> str:
    """Data in one line: how many, of what size, and their classes."""
    known = f"{data.classes} classes" if data.classes else "no classes"
    return f"{type(data).__name__}({len(data):,} pictures of {' x '.join(map(str, data.shape))}, {known})"


def shown(count: int, seed: int, samples: Iterable[int]) -> list[int]:
    """Which of ``count`` pictures a run looks at as its n-th: each epoch goes once through all, in an order of its own."""
    return [int(order(seed, n // count, count)[n % count]) for n in samples]


@lru_cache(maxsize=4)
def order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order in which an epoch goes through ``count`` pictures: a permutation that depends on the arguments alone."""
    return _permutation(noise.key(seed, epoch, "order"), count)


def _permutation(key: int, count: int) -> NDArray[np.int64]:
    permutation: NDArray[np.int64] = torch.randperm(count, generator=torch.Generator().manual_seed(key >> 1)).numpy()
    return permutation


def unit(pictures: Tensor) -> Tensor:
    """float32 in [-1, 1]."""
    return pictures.float() / 127.5 - 1 if pictures.dtype == torch.uint8 else pictures


def digits() -> Dataset:
    """scikit-learn's 1,797 handwritten digits: 1 x 8 x 8, 17 grey values, ten classes."""
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    return Dataset(
        torch.tensor(data.images / 8 - 1, dtype=torch.float32)[:, None],
        torch.tensor(data.target, dtype=torch.int64),
        tuple(str(name) for name in data.target_names),
        tuple(f"digit {i}" for i in range(len(data.target))),
        source="digits",
    )


def some(data: Data, most: int) -> Tensor:
    """At most so many pictures (B, C, H, W), from all over the data; those that can't be read are left out."""
    numbers = torch.linspace(0, len(data) - 1, min(len(data), most)).round().long().tolist()
    found: list[Tensor] = []
    for number in numbers:
        try:
            found.append(data.batch([number])[0])
        except ValueError:  # it is named once training comes to it
            continue
    return torch.cat(found) if found else torch.ones(1, *data.shape)


def split(data: Data, holdout: int, seed: int) -> tuple[Data, Data | None]:
    """What to train on, and ``holdout`` pictures to measure with (None for 0), each in its original order.

    Which ones is a function of (seed, number of pictures) alone.
    """
    if not 0 <= holdout < len(data):
        raise ValueError(f"holdout must be 0 .. {len(data) - 1}, so that pictures are left to train on, but is {holdout}")
    if not holdout:
        return data, None
    permutation = _permutation(noise.key(seed, "holdout"), len(data))
    out, kept = np.sort(permutation[:holdout]), np.sort(permutation[holdout:])
    return data.subset(kept.tolist()), data.subset(out.tolist())


def holdout_size(config: DataConfig, count: int) -> int:
    """How many of ``count`` pictures are held out: what is configured, or a twentieth, at most 1,000, of 200 or more."""
    if config.holdout is None:
        return min(1000, count // 20) if count >= 200 else 0
    if config.holdout >= count:
        raise ValueError(f"holdout is {config.holdout}, but there are {count} pictures, and some must be left to train on")
    return config.holdout


def changed(old: Mapping[str, Sequence[int]], new: Mapping[str, Sequence[int]]) -> str | None:
    """What is different between two listings, in one line: "+3 added (a.png ...), -1 removed (b.png)"; None if nothing."""
    both = old.keys() & new.keys()
    kinds = {
        "+{} added": [name for name in new if name not in old],
        "-{} removed": [name for name in old if name not in new],
        "~{} changed": [name for name in new if name in both and list(old[name]) != list(new[name])],
    }
    said = [f"{kind.format(len(names))} ({_few(names)})" for kind, names in kinds.items() if names]
    return ", ".join(said) or None


def _few(names: list[str], most: int = 3) -> str:
    from noisepath.data.source import readable

    return ", ".join(readable(name) for name in names[:most]) + " ..." * (len(names) > most)
