"""A denoised estimate held to the data's range: by fixed ends, or by a percentile of each sample."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ._lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["clip_to_range", "threshold"]


def clip_to_range(denoised: Tensor, low: float, high: float) -> Tensor:
    """Each value of ``denoised`` (B, *) held to [low, high]  (Ho et al. 2006.11239, clip_denoised of its code)."""
    return denoised.clamp(low, high)


def threshold(denoised: Tensor, ratio: float, limit: float = 1.0, most: float = math.inf) -> Tensor:
    """Dynamic thresholding  (Saharia et al. 2205.11487, section 2.3).

    With s the ``ratio`` quantile of a sample's absolute values, at least ``limit`` and at most ``most``: each sample of
    ``denoised`` (B, *) is clipped to [-s, s] and multiplied by limit / s.  ``ratio`` is a share, above 0 and at most 1.
    """
    sizes = denoised.abs().flatten(1)
    if sizes.dtype.itemsize < 4:  # quantiles are for float32 and float64
        sizes = sizes.float()
    s = torch.quantile(sizes, ratio, dim=1).clamp(min=limit, max=most).to(denoised.dtype)
    s = s.view(-1, *(1,) * (denoised.ndim - 1))
    return torch.minimum(torch.maximum(denoised, -s), s) * (limit / s)
