"""Things read from pictures by program: pixels of one colour that hang together, laid over every sprite there is.

How much a colour covers a pixel is the projection of the pixel's difference from the background on the colour's: it is 1
inside, a fraction at edges, and noise leaves it right on average.  The sprite that leaves the least squared difference of
covers says shape, size and place; one that leaves much says that there is no thing.  Much that is no thing says that the
picture shows no scene at all: nothing is read from it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from noisepath.data.shape_world.drawing import SMALLEST, STEPS, centroid, cover, patch_side
from noisepath.data.shape_world.world import BACKGROUND, COLOURS, SHAPES, SIZES, Thing

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read"]

COVERED = 0.45
"""Cover from which a pixel counts as part of a thing."""
ASTRAY = 0.5
"""Share of a pixel's squared difference from the background that may point in another direction than its colour's."""
FEWEST = 6
"""Pixels of 32 x 32 that a thing has at least."""
MISFIT = 0.25
"""Squared difference from the best sprite, as a share of the sprite's squares, from which there is no thing."""
STRAY = 0.05
"""Share of the picture that may be neither background nor part of a thing: about as much as a medium square."""
STRONG = 0.7
"""Distance from the background, in units of [-1, 1], from which a pixel that is of no colour is no background either."""
_CHUNK = 256
_REACH = 0.5  # pixels between where a thing's centre of mass was found and where it may be


def read(pictures: Tensor) -> list[tuple[Thing, ...]]:
    """The things in each picture, from top to bottom and left to right.

    Args:
        pictures: (B, 3, H, W) in [-1, 1] (values outside are taken as they are), as high as wide, 32 pixels or more; those
            of 64 or more are read at a whole fraction of their size.

    Raises:
        ValueError: pictures of another shape or kind, or values that are not finite.
    """
    if pictures.ndim != 4 or pictures.shape[1] != 3 or pictures.shape[2] != pictures.shape[3] or pictures.shape[2] < SMALLEST:
        raise ValueError(f"pictures of shapes are (B, 3, S, S) with S >= {SMALLEST}, but these are {tuple(pictures.shape)}")
    if not pictures.is_floating_point() or not pictures.isfinite().all():
        raise ValueError(f"pictures to read are finite numbers in [-1, 1], but these are {pictures.dtype}, or not finite")
    found: list[tuple[Thing, ...]] = []
    side = pictures.shape[2] // (pictures.shape[2] // SMALLEST)
    for first in range(0, len(pictures), _CHUNK):
        chunk = pictures[first : first + _CHUNK].detach().float().cpu()
        small = torch.nn.functional.adaptive_avg_pool2d(chunk, side)
        found.extend(_read(small.permute(0, 2, 3, 1).numpy()))
    return found


def _read(x: NDArray[np.float32]) -> list[tuple[Thing, ...]]:
    background, colours = _palette()
    covers, kinds = _segmented(x - background, colours - background)
    labels = _components(kinds)
    return _named(covers, kinds, labels)


def _palette() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The background (3,) and the colours (K, 3), in [-1, 1]."""
    return tuple(np.array(values, dtype=np.float32) / 127.5 - 1 for values in (BACKGROUND, list(COLOURS.values())))  # type: ignore[return-value]


def _segmented(x: NDArray[np.float32], colours: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Each pixel's cover by each colour (B, H, W, K), and its nearest one (B, H, W): -1 for background, K for none."""
    squares = (colours**2).sum(1)
    covers = x @ (colours / squares[:, None]).T
    within = covers.clip(0.0, 1.25)
    power = (x**2).sum(-1)
    left = power[..., None] + squares * within * (within - 2.0 * covers)  # |x - within * colour|^2
    nearest = left.argmin(-1)
    chosen, astray = (np.take_along_axis(values, nearest[..., None], -1)[..., 0] for values in (covers, left))
    other = np.where(power > STRONG**2, len(colours), -1)
    return covers, np.where((chosen > COVERED) & (astray < ASTRAY * power), nearest, other)


def _components(kinds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels of the same kind that hang together by their sides get the same number > 0; small heaps and background get 0.

    Numbers spread from pixel to pixel, the larger one wins; at last each heap grows by two pixels into the background, to
    hold the soft edge of its thing.
    """
    own = np.arange(1, kinds.size + 1).reshape(kinds.shape)
    labels = np.where(kinds >= 0, own, 0)
    while True:
        before = labels
        for axis, step in ((1, 1), (1, -1), (2, 1), (2, -1)):
            same = _moved(kinds, axis, step, -1) == kinds
            labels = np.where(same & (kinds >= 0), np.maximum(labels, _moved(labels, axis, step, 0)), labels)
        if np.array_equal(labels, before):
            break
    fewest = FEWEST * (kinds.shape[1] / SMALLEST) ** 2
    labels[np.bincount(labels.ravel(), minlength=kinds.size + 1)[labels] < fewest] = 0
    for _ in range(2):
        around = [_moved(labels, axis, step, 0) for axis, step in ((1, 1), (1, -1), (2, 1), (2, -1))]
        labels = np.where(labels == 0, np.maximum.reduce(around), labels)
    return labels


def _moved(values: NDArray[np.int64], axis: int, step: int, fill: int) -> NDArray[np.int64]:
    """Each pixel's neighbour's value; ``fill`` at the edge."""
    moved = np.full_like(values, fill)
    ahead, behind = slice(1, None), slice(None, -1)
    to, of = (ahead, behind) if step > 0 else (behind, ahead)
    rest: tuple[slice, ...] = (slice(None),) * axis
    moved[(*rest, to)] = values[(*rest, of)]
    return moved


def _named(covers: NDArray[np.float32], kinds: NDArray[np.int64], labels: NDArray[np.int64]) -> list[tuple[Thing, ...]]:
    """What each heap is, as far as it is anything."""
    count, size = labels.shape[:2]
    found: list[list[Thing]] = [[] for _ in range(count)]
    numbers, place = np.unique(labels, return_inverse=True)
    roots = numbers[numbers > 0] - 1  # the number of a heap is that of one of its pixels
    if not len(roots):
        return [()] * count
    picture, colour = roots // (size * size), kinds.ravel()[roots]
    weights = _weights(covers, labels, numbers, colour)
    middle = _middle(weights, place.reshape(labels.shape), len(numbers))[-len(roots) :]
    corner = np.floor(middle).astype(np.int64) - patch_side(size) // 2
    fits = _fitted(_patches(weights, labels, roots + 1, picture, corner, size), size)
    fine = (fits.misfit < MISFIT) & (colour < len(COLOURS))
    pixels = np.bincount(place.ravel(), (kinds.ravel() >= 0), len(numbers))[-len(roots) :]
    stray = np.bincount(picture, pixels * ~fine, count)
    for i in np.flatnonzero(fine & (stray <= STRAY * size * size)[picture]):
        shape, name, y, x = fits.sprites[fits.best[i]]
        thing = Thing(shape, list(COLOURS)[colour[i]], name, (corner[i, 1] + x) / size, (corner[i, 0] + y) / size)
        found[picture[i]].append(thing)
    return [tuple(sorted(things, key=lambda thing: (int(3 * thing.y), thing.x))) for things in found]


def _weights(
    covers: NDArray[np.float32], labels: NDArray[np.int64], numbers: NDArray[np.int64], colour: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Each pixel's cover by its heap's colour (B, H, W); 0 outside heaps."""
    of_number = np.concatenate([np.zeros(len(numbers) - len(colour), np.int64), colour])
    kind = of_number[np.searchsorted(numbers, labels)].clip(max=len(COLOURS) - 1)
    mine = np.take_along_axis(covers, kind[..., None], -1)[..., 0].clip(-0.25, 1.25)
    return np.where(labels > 0, mine, np.float32(0.0))


def _middle(weights: NDArray[np.float32], place: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Centres of mass (heaps, 2), y and x in pixels from the corner."""
    rows = np.arange(weights.shape[1])[None, :, None] + 0.5
    heavy = weights.clip(0.0, 1.0)
    total = np.bincount(place.ravel(), heavy.ravel(), count)
    down, across = (np.bincount(place.ravel(), (heavy * at).ravel(), count) for at in (rows, rows.transpose(0, 2, 1)))
    middle: NDArray[np.float64] = np.stack([down, across], 1) / np.maximum(total, 1e-6)[:, None]
    return middle


def _patches(
    weights: NDArray[np.float32],
    labels: NDArray[np.int64],
    numbers: NDArray[np.int64],
    picture: NDArray[np.int64],
    corner: NDArray[np.int64],
    size: int,
) -> NDArray[np.float32]:
    """The covers around each heap (heaps, P * P), of its own pixels alone."""
    side = patch_side(size)
    margin = ((0, 0), (side, side), (side, side))
    rows, columns = (corner[:, axis, None] + side + np.arange(side) for axis in (0, 1))
    where = picture[:, None, None], rows[:, :, None], columns[:, None, :]
    own = np.pad(labels, margin)[where] == numbers[:, None, None]
    return np.where(own, np.pad(weights, margin)[where], np.float32(0.0)).reshape(len(numbers), -1)


class _Fits(NamedTuple):
    sprites: list[tuple[str, str, float, float]]
    """Shape, size, and the middle's y and x in the patch, in pixels."""
    best: NDArray[np.int64]
    misfit: NDArray[np.float32]


def _fitted(patches: NDArray[np.float32], size: int) -> _Fits:
    """The best of all sprites for each patch, and how badly it fits; colours may be a fifth too pale or too strong."""
    sprites, values = _templates(size)
    power = (values**2).sum(1)
    both = patches @ values.T
    strength = (both / power).clip(0.8, 1.2)
    left = (patches**2).sum(1)[:, None] - strength * (2.0 * both - strength * power)
    best = left.argmin(1)
    misfit = np.take_along_axis(left, best[:, None], 1)[:, 0] / power[best]
    return _Fits(sprites, best, misfit)


@lru_cache(maxsize=4)
def _templates(size: int) -> tuple[list[tuple[str, str, float, float]], NDArray[np.float32]]:
    """All sprites with their centre of mass near the patch's middle, sharp and blurred, and their covers (T, P * P)."""
    around = patch_side(size) // 2 + np.arange(-_REACH, 1.0 + _REACH + 1e-9, 1.0 / STEPS)
    sprites, values = [], []
    for shape in SHAPES:
        for name in SIZES:
            down, across = centroid(shape, name, size)
            for y in around - down:
                for x in around - across:
                    sharp = cover(shape, name, size, y, x)
                    sprites += [(shape, name, float(y), float(x))] * 2
                    values += [sharp.ravel(), _blurred(sharp).ravel()]
    return sprites, np.array(values, dtype=np.float32)


def _blurred(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of 3 x 3 pixels."""
    padded = np.pad(values, 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    blurred: NDArray[np.float32] = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / np.float32(9.0)
    return blurred
