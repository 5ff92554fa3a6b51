"""What a picture says of itself by being seen: in low resolution, or in part.  Training makes it of the picture; later anyone
gives it, and the model draws the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from noisepath import noise
from noisepath.errors import lookup, shown
from noisepath.nn.parts import Part

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["KINDS", "Pictured", "known_parts"]

DRAWS = 5
"""Random numbers that the known part of a picture depends on."""


@dataclass(frozen=True)
class Pictured:
    """A picture that is told: its name, of :data:`KINDS`, and its size."""

    name: str
    channels: int
    height: int
    width: int

    def __post_init__(self) -> None:
        lookup(KINDS, self.name, "condition that is a picture")

    def part(self) -> Part:
        """How the network is told."""
        return Part(self.name, "picture", self.channels)

    def encode(self, said: Sequence[Any], *, cut: bool = False, strict: bool = True) -> Tensor:
        """Pictures (channels, height, width) in [-1, 1] as float32 (B, ...); NaN where nothing is known, None knows nothing."""
        return torch.stack([self._picture(value) for value in said])

    def _picture(self, value: Any) -> Tensor:
        shape = (self.channels, self.height, self.width)
        if value is None:
            return torch.full(shape, torch.nan)
        if not isinstance(value, torch.Tensor) or not value.is_floating_point() or tuple(value.shape) != shape:
            got = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else shown(value)
            raise ValueError(f"{self.name} takes a picture: floats of shape {shape} in [-1, 1], but got {got}")
        if (value.abs() > 1.0).any():  # NaN is not
            most = float(value.nan_to_num().abs().max())
            raise ValueError(f"{self.name} takes a picture in [-1, 1], but its values reach {most}")
        return value.detach().to("cpu", torch.float32)

    def of(self, x: Tensor, seed: int, step: int, samples: Sequence[int]) -> Tensor:
        """What the pictures x (B, C, H, W) say; what is drawn is a function of (seed, step, sample)."""
        return _MAKE[self.name](self, x, [noise.uniform(noise.key(seed, step, self.name, k), samples) for k in range(DRAWS)])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": "pictured", **asdict(self)}


def _low(entry: Pictured, x: Tensor, draws: Sequence[Tensor]) -> Tensor:
    return torch.nn.functional.adaptive_avg_pool2d(x, (entry.height, entry.width))


def _known(entry: Pictured, x: Tensor, draws: Sequence[Tensor]) -> Tensor:
    return torch.where(known_parts(draws, x.shape[2], x.shape[3]).to(x.device), x, torch.nan)


def known_parts(draws: Sequence[Tensor], height: int, width: int) -> Tensor:
    """What is known of pictures in training, (B, 1, height, width), true where it is.

    Of half of them all but a rectangle, of a quarter nothing but one, of a quarter what lies on one side of a line: holes,
    edges and halves of any direction.

    Args:
        draws: five times (B,) numbers from 0 to 1.
    """
    kind, a, b, down, right = (draw.view(-1, 1, 1, 1) for draw in draws)
    y = ((torch.arange(height) + 0.5) / height).view(-1, 1)
    x = (torch.arange(width) + 0.5) / width
    high, wide = 0.25 + 0.5 * a, 0.25 + 0.5 * b
    top, left = down * (1.0 - high), right * (1.0 - wide)
    inside = (y >= top) & (y < top + high) & (x >= left) & (x < left + wide)
    angle = 2.0 * math.pi * a
    side = (y - 0.25 - 0.5 * down) * angle.sin() + (x - 0.25 - 0.5 * right) * angle.cos() > 0.0
    return torch.where(kind < 0.5, ~inside, torch.where(kind < 0.75, inside, side))


KINDS = {
    "low_resolution": "the picture in low resolution, each pixel the mean of some",
    "known": "a part of the picture",
}
_MAKE: dict[str, Callable[[Pictured, Tensor, Sequence[Tensor]], Tensor]] = {"low_resolution": _low, "known": _known}
