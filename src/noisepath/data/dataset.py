"""Pictures to learn from: scikit-learn's digits, or a folder of pictures, with a folder for each class if there are any.

What leaves is a :class:`Dataset`: all pictures in memory, (N, C, H, W), one size, grey or colour, and their classes.  Which
picture a run looks at as its n-th is a function of (seed, n) alone: each epoch is a new order of all of them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from noisepath import noise
from noisepath.data.decode import SUFFIXES, is_grey, picture_size, read_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Dataset", "digits", "folder", "order"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Pictures (N, C, H, W) and, where they have classes, a label (N,) for each.

    ``pictures`` are float32 in [-1, 1], or uint8 in 0 .. 255 to save memory; ``labels`` are int64 in
    0 .. len(class_names) - 1.
    """

    pictures: Tensor
    labels: Tensor | None = None
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
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
    def sigma_data(self) -> float:
        """Standard deviation of all values, in [-1, 1] units; that of pictures which are all one value counts as 0.01."""
        values = self.pictures[torch.linspace(0, len(self) - 1, min(len(self), 10_000)).long()]
        return max(0.01, float(_unit(values).double().std(correction=0)))

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Pictures float32 in [-1, 1], (B, C, H, W), and their labels."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return _unit(self.pictures[chosen]), None if self.labels is None else self.labels[chosen]

    def shown(self, seed: int, samples: Iterable[int]) -> list[int]:
        """Which pictures a run with this seed looks at as its n-th, for each n of ``samples``."""
        return [int(order(seed, n // len(self), len(self))[n % len(self)]) for n in samples]


@lru_cache(maxsize=4)
def order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order in which an epoch goes through ``count`` pictures: a permutation that depends on the arguments alone."""
    generator = torch.Generator().manual_seed(noise.key(seed, epoch, "order") >> 1)
    permutation: NDArray[np.int64] = torch.randperm(count, generator=generator).numpy()
    return permutation


def _unit(pictures: Tensor) -> Tensor:
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
    )


def folder(path: str | os.PathLike[str], size: int | tuple[int, int] | None = None) -> Dataset:
    """A folder of pictures (PNG, JPEG, WEBP, BMP, GIF, TIFF), or a folder of folders, one for each class.

    Pictures are turned upright (EXIF), set on white where they are transparent, scaled to cover ``size`` (height, width, or
    one number for both; default: the most common size among them) and cut to it around their middle.  All grey ones give
    one channel, else there are three.  A class folder may hold folders itself; names that start with a dot are passed over.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no pictures in it, or pictures beside class folders, or one that can't be read (it is named).
    """
    names, files = _find(Path(path))
    paths = [file for _, file in files]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        height, width = _wanted(size) or _most_common(pool.map(picture_size, paths))
        grey = all(pool.map(is_grey, paths))
        arrays = list(pool.map(lambda file: read_picture(file, height, width, grey), paths))
    labels = torch.tensor([label for label, _ in files], dtype=torch.int64) if names else None
    return Dataset(_stack(arrays), labels, names)


def _find(root: Path) -> tuple[tuple[str, ...], list[tuple[int, Path]]]:
    """Class names, and (label, file) of every picture; all in the order of their names."""
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {str(root)!r}" + (": it is a file" if root.is_file() else ""))
    entries = sorted(entry for entry in root.iterdir() if not entry.name.startswith("."))
    loose = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in SUFFIXES]
    classes = {entry.name: found for entry in entries if entry.is_dir() and (found := _pictures_below(entry))}
    if loose and classes:
        raise ValueError(
            f"{str(root)!r} holds pictures ({loose[0].name} ...) beside folders of pictures ({next(iter(classes))} ...): "
            "put each picture into a class folder, or all into one folder"
        )
    if loose:
        return (), [(0, file) for file in loose]
    if not classes:
        raise ValueError(f"no pictures in {str(root)!r}: looked for {', '.join(sorted(SUFFIXES))} there and in its folders")
    return tuple(classes), [(label, file) for label, found in enumerate(classes.values()) for file in found]


def _pictures_below(root: Path) -> list[Path]:
    inside = (path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(path for path in inside if not any(part.startswith(".") for part in path.relative_to(root).parts))


def _wanted(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(side, int) and side >= 1 for side in pair):
        raise ValueError(f"size must be a whole number >= 1, or (height, width), but is {size!r}")
    return pair[0], pair[1]


def _most_common(sizes: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """The most common (height, width); of several the largest."""
    counts = Counter(sizes)
    return max(counts, key=lambda size: (counts[size], size[0] * size[1], size))


def _stack(arrays: list[NDArray[Any]]) -> Tensor:
    """(H, W, C) each, uint8, or float32 in 0 .. 255 where a picture has more than 8 bits -> (N, C, H, W)."""
    if all(array.dtype == np.uint8 for array in arrays):
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()
    stacked = np.stack([array.astype(np.float32) for array in arrays])
    return (torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous() / 127.5 - 1).clamp(-1, 1)
