"""Scenes drawn as pictures: each thing is a sprite, anti-aliased, whose middle lies on a quarter of a pixel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from noisepath.data.shape_world.world import BACKGROUND, COLOURS, SHAPES, SIZES, Thing

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SMALLEST", "STEPS", "centroid", "check_size", "cover", "draw", "patch_side"]

SMALLEST = 32
"""Height and width below which shapes can't be told apart."""
STEPS = 4
"""Places of a sprite's middle within a pixel, across and down."""
_SAMPLES = 8  # points within a pixel, across and down, by which its cover is counted
_CHUNK = 1024


def check_size(size: int) -> None:
    """ValueError unless pictures can have this height and width."""
    if isinstance(size, bool) or not isinstance(size, int) or size < SMALLEST:
        raise ValueError(f"the size of pictures of shapes must be a whole number >= {SMALLEST}, but is {size!r}")


def draw(scenes: Sequence[Sequence[Thing]], size: int = 32) -> Tensor:
    """Pictures of the scenes, uint8 (N, 3, size, size); things must lie inside, and not upon each other."""
    check_size(size)
    chunks = [_drawn(scenes[i : i + _CHUNK], size) for i in range(0, len(scenes), _CHUNK)]
    return torch.from_numpy(np.concatenate(chunks)) if chunks else torch.empty(0, 3, size, size, dtype=torch.uint8)


def _drawn(scenes: Sequence[Sequence[Thing]], size: int) -> NDArray[np.uint8]:
    margin = _margin(size)
    page = np.empty((len(scenes), size + 2 * margin, size + 2 * margin, 3), dtype=np.float32)
    page[:] = BACKGROUND
    for place in range(max(len(scene) for scene in scenes)):  # the n-th things of all scenes at once
        _put(page, [(i, scene[place]) for i, scene in enumerate(scenes) if place < len(scene)], size)
    inside = page[:, margin:-margin, margin:-margin]
    return np.rint(inside).astype(np.uint8).transpose(0, 3, 1, 2)


def _put(page: NDArray[np.float32], things: list[tuple[int, Thing]], size: int) -> None:
    """Draw things on pages that have a margin, one on each page at most."""
    side = patch_side(size)
    sprites = _sprites(size)
    middle = np.array([(thing.y, thing.x) for _, thing in things]) * size
    fourths = np.rint(middle * STEPS).astype(np.int64)
    whole, part = fourths // STEPS, fourths % STEPS
    kinds = np.array([(SHAPES.index(thing.shape), list(SIZES).index(thing.size)) for _, thing in things])
    patches = sprites[kinds[:, 0], kinds[:, 1], part[:, 0], part[:, 1]][..., None]
    span = np.arange(side)
    rows, columns = (whole[:, axis, None] + _margin(size) - side // 2 + span for axis in (0, 1))
    where = np.array([i for i, _ in things])[:, None, None], rows[:, :, None], columns[:, None, :]
    colours = np.array([COLOURS[thing.colour] for _, thing in things], dtype=np.float32)[:, None, None]
    page[where] += patches * (colours - page[where])


@lru_cache(maxsize=4)
def _sprites(size: int) -> NDArray[np.float32]:
    """What each pixel of a patch is covered, by shape, size, and fourths of a pixel down and across."""
    middle = patch_side(size) // 2 + np.arange(STEPS) / STEPS
    kinds = [[[[cover(shape, name, size, y, x) for x in middle] for y in middle] for name in SIZES] for shape in SHAPES]
    return np.array(kinds, dtype=np.float32)


def _margin(size: int) -> int:
    """Pixels around a picture that hold the patch of a thing whose middle lies anywhere inside."""
    return patch_side(size) // 2 + 1


def patch_side(size: int) -> int:
    """Height and width in pixels of a patch that holds any thing, with two pixels around it."""
    return ceil(max(SIZES.values()) * size) + 5


def cover(shape: str, name: str, size: int, y: float, x: float) -> NDArray[np.float32]:
    """Which share of each pixel of a patch lies inside a shape, 0 .. 1, if its middle lies at (y, x) in pixels."""
    extent, side = SIZES[name] * size, patch_side(size)
    points = (np.arange(side * _SAMPLES) + 0.5) / _SAMPLES
    inside = _inside(shape, (points - y)[:, None] / extent, (points - x)[None, :] / extent)
    share: NDArray[np.float32] = inside.reshape(side, _SAMPLES, side, _SAMPLES).mean((1, 3), dtype=np.float32)
    return share


def _inside(shape: str, v: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether points lie inside a shape whose height and width are 1; v downwards and u to the right of its middle."""
    square = np.maximum(abs(u), abs(v)) <= 0.5
    if shape == "circle":
        return np.hypot(u, v) <= 0.5
    if shape == "triangle":
        return square & (2.0 * abs(u) <= v + 0.5)
    if shape == "cross":
        return square & (np.minimum(abs(u), abs(v)) <= 1 / 6)
    return square


def centroid(shape: str, name: str, size: int) -> tuple[float, float]:
    """Where a shape's centre of mass lies from its middle, in pixels downwards and to the right."""
    return (SIZES[name] * size / 6 if shape == "triangle" else 0.0), 0.0
