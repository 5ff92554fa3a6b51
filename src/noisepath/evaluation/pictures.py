"""Pictures as evaluation sees them: 8 bits, as a PNG file would hold them, and none that can't be read.

Samples are real numbers about [-1, 1], real pictures lie on 256 grey values.  What a judge could tell from that alone says
nothing of the pictures, so both are brought to the same values first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from noisepath import noise
from noisepath._lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from noisepath.data.dataset import Data

__all__ = ["as_saved", "chosen", "content_hash", "read", "shrink_factor", "shrink_name", "shrunk"]

_SIDE = 32  # what features are taken from is at least this large, and less than twice


def as_saved(pictures: Tensor) -> Tensor:
    """The nearest pictures that 8 bits can hold, float32 in [-1, 1] on the CPU."""
    values = pictures.detach().float().cpu().clamp(-1, 1)
    return ((values + 1) * 127.5).round() / 127.5 - 1


def read(data: Data, indices: Sequence[int], size: int = 256) -> tuple[Tensor, Tensor | None, list[int]]:
    """Pictures as 8 bits hold them, their classes, and which they are: those of ``indices`` that can be read.

    ValueError, the file's own, if none can.
    """
    parts = [_readable(data, list(indices[i : i + size])) for i in range(0, len(indices), size)]
    found = [part for part in parts if part[2]]
    if not found:
        data.batch(list(indices[:1]))
        raise ValueError("there are no pictures to read")
    labels = [part[1] for part in found if part[1] is not None]
    which = [index for part in found for index in part[2]]
    return torch.cat([part[0] for part in found]), torch.cat(labels) if labels else None, which


def _readable(data: Data, indices: list[int]) -> tuple[Tensor, Tensor | None, list[int]]:
    """A batch without what can't be read: at once where all can be, else by halves."""
    try:
        x, labels = data.batch(indices)
        return as_saved(x), labels, indices
    except ValueError:
        if len(indices) == 1:
            return torch.empty(0, *data.shape), None, []
    middle = len(indices) // 2
    first, second = _readable(data, indices[:middle]), _readable(data, indices[middle:])
    told = [part[1] for part in (first, second) if part[1] is not None]
    return torch.cat([first[0], second[0]]), torch.cat(told) if told else None, first[2] + second[2]


def chosen(count: int, most: int, seed: int, purpose: str) -> list[int]:
    """At most ``most`` of 0 .. count - 1, in rising order: a function of the arguments alone."""
    if count <= most:
        return list(range(count))
    generator = torch.Generator().manual_seed(noise.key(seed, purpose) >> 1)
    return sorted(torch.randperm(count, generator=generator)[:most].tolist())


def content_hash(pictures: Tensor) -> str:
    """sha256 of pictures' 8-bit values and shape."""
    values = ((pictures + 1) * 127.5).round().to(torch.uint8).contiguous()
    return hashlib.sha256(repr(tuple(values.shape)).encode() + values.numpy().tobytes()).hexdigest()


def shrink_factor(shape: Sequence[int]) -> int:
    """How many pixels of a picture (C, H, W) are averaged to one, along each side, before features are taken."""
    return max(1, max(shape[-2:]) // _SIDE)


def shrink_name(shape: Sequence[int]) -> str:
    """The same in words."""
    factor = shrink_factor(shape)
    return "none" if factor == 1 else f"means of {factor} x {factor} pixels"


def shrunk(pictures: Tensor) -> Tensor:
    """Pictures (B, C, H, W), averaged so that the longer side is below 64 pixels."""
    factor = shrink_factor(pictures.shape)
    if factor == 1:
        return pictures
    return torch.nn.functional.avg_pool2d(pictures, factor, ceil_mode=True, count_include_pad=False)
