"""The belief held to the data's range."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clipping import clip_to_range, threshold
from ..conditions import Condition
from ..denoiser import Denoise
from ..errors import is_number, shown
from ..levels import Level
from .told import within
from .transformed import Transformed, belief

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["clip", "dynamic_threshold"]


def clip(denoiser: Denoise, low: float = -1.0, high: float = 1.0) -> Denoise:
    """The belief held to the data's range, [-1, 1] for pictures (clip_denoised of Ho et al. 2006.11239; never a default)."""
    if not (is_number(low) and is_number(high) and low < high):
        raise ValueError(f"clipping needs two numbers low < high, but got {shown(low)} and {shown(high)}")

    def transform(run: Denoise) -> Denoise:
        def clipped(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
            return clip_to_range(belief(run(x, level, condition)), low, high)

        return clipped

    return Transformed(denoiser, transform, stateless=True, name="clip")


def dynamic_threshold(denoiser: Denoise, percentile: float = 99.5, limit: float = 1.0) -> Denoise:
    """Dynamic thresholding: the belief is clipped to [-s, s] and divided by s  (Saharia et al. 2205.11487, section 2.3).

    s is the ``percentile`` of |D| / limit of each picture, and 1 where that is less: a belief whose percentile lies within
    [-limit, limit] is clipped there and not divided.  For pictures, not for latents, whose range is open.  Put it around the
    guidance whose outliers it is to hold.

    ValueError where ``percentile`` is not above 0 and at most 100, or ``limit`` not above 0.
    """
    within("percentile", percentile, 0.0, 100.0, above=True)
    within("limit", limit, 0.0, above=True)

    def transform(run: Denoise) -> Denoise:
        def held(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
            return threshold(belief(run(x, level, condition)), percentile / 100.0, limit)

        return held

    return Transformed(denoiser, transform, stateless=True, name="dynamic_threshold")
