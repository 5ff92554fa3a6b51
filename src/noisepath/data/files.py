"""Picture files that are decoded when they are asked for: ``open_data``, and ``Files``, the data that it gives.

A fixed sample is decoded whole before anything else is done.  It says the size, whether the pictures are grey, their mean and
standard deviation, and whether the files are worth starting with: more than 1 % bad ones end it there, by name.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from noisepath.data.config import DataConfig
from noisepath.data.dataset import Data, Dataset, described, digits, order, shown, unit
from noisepath.data.decode import BadPicture, Form, Head, decode, fit, head, quietly
from noisepath.data.layout import Layout, arrange
from noisepath.data.memory import Memory
from noisepath.data.source import Source, readable, source

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "MOST_BAD",
    "SAMPLE",
    "Files",
    "as_unit",
    "bytes_of",
    "each",
    "folder",
    "open_data",
    "read",
    "refuse_if_too_many",
    "sample_of",
    "wanted_form",
]

SAMPLE = 1024
"""Pictures that are decoded before a run starts (all, if there are no more)."""
MOST_BAD = 0.01
"""Share of bad pictures above which a run stops."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Files:
    """Pictures in files; see :class:`noisepath.data.Data` for what can be asked of them."""

    source: Source
    layout: Layout
    form: Form
    moments: tuple[float, float]
    memory: Memory
    rows: NDArray[np.int64]
    """Which of the layout's pictures these are."""

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return described(self)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one picture."""
        return self.form.shape

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; () if the pictures have none."""
        return self.layout.class_names

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def mean(self) -> float:
        """Mean of all values of the sample, in [-1, 1] units."""
        return self.moments[0]

    @property
    def sigma_data(self) -> float:
        """Standard deviation of all values of the sample, in [-1, 1] units, at least 0.01."""
        return max(0.01, self.moments[1])

    @cached_property
    def labels(self) -> Tensor | None:
        """The class of each picture, int64 (N,)."""
        return None if self.layout.labels is None else torch.tensor(self.layout.labels, dtype=torch.int64)[self.rows]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Each file's name relative to the root."""
        return tuple(self.layout.names[row] for row in self.rows)

    @cached_property
    def captions(self) -> tuple[str, ...] | None:
        """A text for each picture."""
        captions = self.layout.captions
        return None if captions is None else tuple(captions[row] for row in self.rows)

    @cached_property
    def attributes(self) -> tuple[dict[str, object], ...] | None:
        """What else the metadata file says of each picture."""
        attributes = self.layout.attributes
        return None if attributes is None else tuple(attributes[row] for row in self.rows)

    @cached_property
    def listing(self) -> dict[str, list[int]]:
        """Name -> size, and time of change in nanoseconds or, in a zip, check sum."""
        found = self.source.found
        listing = {name: list(found.pictures[name]) for name in self.names}
        if (metadata := self.layout.metadata) is not None:
            listing[metadata] = list(found.others[metadata])
        return listing

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the listing, the labels and the form."""
        labels = None if self.labels is None else self.labels.tolist()
        told = (list(self.listing.items()), labels, self.class_names, self.form)
        return hashlib.sha256(repr(told).encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def made_grey(self) -> int:
        """How many colour pictures have been brought to grey so far, since the sample had none."""
        return int(self.memory.greyed[self.rows].sum())

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Pictures float32 in [-1, 1], (B, C, H, W), and their labels; ValueError names a picture that can't be read."""
        rows = self.rows[np.asarray(indices, dtype=np.int64)]
        memory = self.memory
        for row in rows:
            if row in memory.bad:
                raise BadPicture(self.layout.names[row], memory.bad[row])
        with quietly():
            fresh = {int(row): self._decoded(int(row)) for row in rows if not memory.held[row]}
        labels = None if self.labels is None else self.labels[torch.as_tensor(indices, dtype=torch.int64)]
        if memory.pictures is not None and memory.held[rows].all():
            return as_unit(memory.pictures[rows]), labels
        return torch.stack([self._one(int(row), fresh) for row in rows]), labels

    def sums(self, row: int) -> tuple[float, float] | None:
        """Sum and sum of squares of a picture's values in [-1, 1]; None if it can't be read."""
        try:
            values = as_unit(self._decoded(row)).double()
        except BadPicture:
            return None
        return float(values.sum()), float(values.square().sum())

    def subset(self, indices: Sequence[int]) -> Files:
        """These pictures alone, in this order; what was decoded is shared with the whole."""
        return replace(self, rows=self.rows[np.asarray(indices, dtype=np.int64)])

    def shown(self, seed: int, samples: Iterable[int]) -> list[int]:
        """Which pictures a run with this seed looks at as its n-th, for each n of ``samples``."""
        return shown(len(self), seed, samples)

    def _one(self, row: int, fresh: dict[int, NDArray[Any]]) -> Tensor:
        memory = self.memory
        return as_unit(memory.pictures[row] if memory.pictures is not None and memory.held[row] else fresh[row])

    def _decoded(self, row: int) -> NDArray[Any]:
        """A picture (C, H, W), which is remembered from now on; so is a bad one."""
        try:
            colour, values = read(self.source, self.layout.names[row], self.form)
        except BadPicture as error:
            self.memory.bad[row] = error.reason
            raise
        if self.form.grey and colour:
            self.memory.greyed[row] = 1
        self.memory.keep(row, values)
        return values


def open_data(config: DataConfig, progress: bool = False, strict: bool = True) -> Data:
    """The pictures of a run: digits or shapes in memory, or a folder's or zip's files, of which a sample is decoded now.

    Args:
        config: which pictures, and how they are made alike.
        progress: show a live bar.
        strict: more than 1 % bad ones in the sample are an error.

    Raises:
        FileNotFoundError: there is no such folder or zip.
        ValueError: no pictures; nobody can tell what is what; more than 1 % of the sample can't be read (they are listed);
            shapes of another form than they are drawn in, or mirrored, which their captions would not be.
    """
    if config.data == "digits":
        return _digits(config)
    if config.data == "shapes":
        return _shapes(config)
    place = source(config.data)
    return _open(place, arrange(place), config, progress, strict)


def _open(place: Source, layout: Layout, config: DataConfig, progress: bool, strict: bool) -> Files:
    rows = sample_of(len(layout.names))
    form, fine = wanted_form(place, [layout.names[row] for row in rows], config)
    everything = np.arange(len(layout.names), dtype=np.int64)
    memory = Memory(len(everything), form.shape, np.float32 if fine else np.uint8)
    data = Files(place, layout, form, (0.0, 0.0), memory, everything)
    sums = each(data.sums, rows, "looking at pictures" if progress else None)
    good = [found for found in sums if found is not None]
    bad = [(layout.names[row], memory.bad[row]) for row in rows if row in memory.bad]
    if refused := place.found.bad if strict else ():
        refuse_if_too_many(refused, len(layout.names) + len(refused))
    if strict or not good:
        refuse_if_too_many(bad, len(rows))
    values = len(good) * math.prod(form.shape)
    mean = math.fsum(first for first, _ in good) / values
    variance = math.fsum(second for _, second in good) / values - mean**2
    return replace(data, moments=(mean, math.sqrt(max(0.0, variance))))


def sample_of(count: int) -> list[int]:
    """The pictures that are looked at first: a function of their number alone."""
    if count <= SAMPLE:
        return list(range(count))
    return sorted(order(0, 0, count)[:SAMPLE].tolist())


def refuse_if_too_many(bad: Sequence[tuple[str, str]], count: int) -> None:
    """The error that ends a run with more than 1 % bad pictures: the first 20 of (name, reason)."""
    if len(bad) <= MOST_BAD * count:
        return
    said = "; ".join(f"{readable(name)}: {reason}" for name, reason in bad[:20])
    more = f"; and {len(bad) - 20} more" if len(bad) > 20 else ""
    raise ValueError(f"{len(bad)} of {count} pictures can't be read, and at most 1 % may be bad: {said}{more}")


def wanted_form(place: Source, names: Sequence[str], config: DataConfig) -> tuple[Form, bool]:
    """What all pictures are brought to, by the heads of these; and whether some have values finer than 8 bits.

    The size is the one configured, or the most common one as seen upright (of several the largest); pictures are grey if
    all of these are.
    """
    looks = each(partial(_head, place), names)
    heads = [found for found in looks if isinstance(found, Head)]
    if not heads:
        refuse_if_too_many([(name, str(why)) for name, why in zip(names, looks, strict=True)], len(names))
    sizes = Counter((found.height, found.width) for found in heads)
    size = config.picture_size or max(sizes, key=lambda size: (sizes[size], size[0] * size[1], size))
    height, width = (size, size) if isinstance(size, int) else size
    grey = all(found.grey for found in heads)
    fine = any(found.mode[0] in "IF" for found in heads)
    return Form(height, width, grey, config.resize, config.background), fine


def _head(place: Source, name: str) -> Head | str:
    """A picture's head, or why it can't be read."""
    try:
        return head(bytes_of(place, name), name)
    except BadPicture as error:
        return error.reason


def bytes_of(place: Source, name: str) -> bytes:
    """A picture's file; a bad picture if it can't be had."""
    try:
        return place.read(name)
    except OSError as error:
        raise BadPicture(name, error.strerror or "the file can't be read") from error
    except ValueError as error:
        raise BadPicture(name, str(error)) from error


def read(place: Source, name: str, form: Form) -> tuple[bool, NDArray[Any]]:
    """Whether the file holds colours, and the picture in the form wanted, (C, H, W)."""
    content = bytes_of(place, name)
    colour = form.grey and not head(content, name).grey
    return colour, np.ascontiguousarray(decode(content, name, form).transpose(2, 0, 1))


def each(look: Callable[[T], R], items: Sequence[T], telling: str | None = None) -> list[R]:
    """``look`` at each of the items, several at a time; the answers in their order.  ``telling`` titles a live bar."""
    from tqdm import tqdm

    with quietly(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        answers = pool.map(look, items)
        return list(tqdm(answers, telling, len(items), unit="picture", disable=telling is None))


def as_unit(values: NDArray[Any]) -> Tensor:
    """uint8, or float32 in 0 .. 255 -> float32 in [-1, 1]."""
    tensor = torch.from_numpy(values)
    return unit(tensor) if tensor.dtype == torch.uint8 else (tensor / 127.5 - 1).clamp(-1, 1)


def folder(path: str | os.PathLike[str], size: int | tuple[int, int] | None = None) -> Dataset:
    """A folder of pictures (PNG, JPEG, WEBP, BMP, GIF, TIFF), or a folder of folders, one for each class; all in memory.

    Pictures are turned upright (EXIF), set on white where they are transparent, scaled to cover ``size`` (height, width, or
    one number for both; default: the most common size among them) and cut to it around their middle.  All grey ones give
    one channel, else there are three.  A class folder may hold folders itself; names that start with a dot are passed over.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: no pictures in it, or pictures beside class folders, or one that can't be read (it is named).
    """
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {str(root)!r}" + (": it is a file" if root.is_file() else ""))
    try:
        config = DataConfig(str(root), size)
    except ValueError:
        raise ValueError(f"size must be a whole number >= 1, or (height, width), but is {size!r}") from None
    place = source(root)
    layout = arrange(place)
    refuse_if_too_many(place.found.bad, 1)
    form, _ = wanted_form(place, layout.names, config)
    arrays = [values for _, values in each(lambda name: read(place, name, form), layout.names)]
    same = all(values.dtype == np.uint8 for values in arrays)
    pictures = torch.from_numpy(np.stack(arrays)) if same else torch.stack([as_unit(values) for values in arrays])
    return Dataset(
        pictures,
        None if layout.labels is None else torch.tensor(layout.labels, dtype=torch.int64),
        layout.class_names,
        layout.names,
        layout.captions,
        layout.attributes,
    )


def _digits(config: DataConfig) -> Dataset:
    """scikit-learn's digits, brought to the size wanted."""
    from PIL import Image

    data = digits()
    if config.picture_size is None:
        return data
    size = config.picture_size
    height, width = (size, size) if isinstance(size, int) else size
    form = Form(height, width, True, config.resize, config.background)
    scaled = [np.array(fit(Image.fromarray((picture[0].numpy() + 1) * 127.5), form)) for picture in data.pictures]
    return replace(data, pictures=torch.stack([as_unit(values.clip(0, 255)[None]) for values in scaled]))


def _shapes(config: DataConfig) -> Dataset:
    """Captioned shapes, drawn in the size wanted."""
    from noisepath.data.shape_world import shapes

    if config.flip:
        raise ValueError("shapes are not mirrored: their captions say what is left and right (leave out flip)")
    size = 32 if config.picture_size is None else config.picture_size
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise ValueError(f"shapes are drawn as high as wide, but picture_size is {height} x {width}")
    return shapes(size=height)
