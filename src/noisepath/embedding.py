"""Features of time: what a network is shown instead of the bare number t.

Sinusoidal (Vaswani et al. 1706.03762, section 3.5; Ho et al. 2006.11239), with h = dim // 2 and k = 0 .. h-1:

    frequency_k = max_period^(-k / (h - shift)),    embedding = [sin(scale t frequency), cos(scale t frequency)]

Fourier (Tancik et al. 2006.10739; Song et al. 2011.13456): the same with random frequencies, for a t of any range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .errors import shown

__all__ = ["FourierFeatures", "get_timestep_embedding"]


def get_timestep_embedding(
    timesteps: Tensor | float | Sequence[float] | NDArray[Any],
    dim: int,
    *,
    max_period: float = 10000.0,
    downscale_freq_shift: float = 1.0,
    scale: float = 1.0,
) -> Tensor:
    """Sinusoidal embedding of ``timesteps`` (B,) as (B, dim): all sines first, then all cosines, then a 0 if dim is odd.

    ``timesteps`` is a tensor, an array or a list; they may be fractional, and of any real dtype; one number is a batch of
    one.  ``downscale_freq_shift = 1`` makes the last frequency exactly ``1 / max_period``, as DDPM does; 0 is the
    transformer's.  With ``dim`` 2 or 3 there is one frequency, 1; with ``dim`` 1 there is room for none, and the embedding
    is 0.  The result is float32 (float64 for float64 tensors and arrays), never half precision: 6e-8 from the true value
    also at large t.  It is on the device of ``timesteps``.

    TypeError for times that are no numbers.  ValueError for a shape other than (B,), ``dim < 1``, ``max_period <= 0``, or
    a shift that divides by 0.
    """
    times = _times(timesteps)
    dim = _whole_width(dim, "a whole number of at least 1", 1)
    half = dim // 2
    steps = half - downscale_freq_shift
    if not 0.0 < max_period < math.inf:
        raise ValueError(f"max_period must be positive and finite, but is {max_period}")
    if half > 1 and not steps > 0:
        raise ValueError(f"downscale_freq_shift must be below dim // 2 = {half}, but is {downscale_freq_shift}")

    # In float32 the product of t = 999 and a rounded frequency would be off by 6e-5: the angle is made in float64.
    fine = _finest(times.device)
    ramp = torch.arange(half, dtype=fine, device=times.device)
    frequencies = torch.exp(ramp * (-math.log(max_period) / steps)) if half > 1 else torch.ones_like(ramp)
    angles = times.to(fine)[:, None] * (scale * frequencies)
    features = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
    if dim % 2:
        features = nn.functional.pad(features, (0, 1))
    return features.to(_float_of(timesteps))


class FourierFeatures(nn.Module):
    """Random Fourier features: t (B,) -> (B, dim), ``[sin(2 pi f t), cos(2 pi f t)]`` with f ~ N(0, bandwidth^2).

    One number is a batch of one.

    ``dim`` must be even.  The frequencies come from ``seed`` alone, are not trained, and are kept in the state dict.
    The result is float32 or finer, never half precision.
    """

    frequencies: Tensor

    def __init__(self, dim: int, *, bandwidth: float = 1.0, seed: int = 0) -> None:
        super().__init__()
        even = "an even number of at least 2 (a sine and a cosine each)"
        dim = _whole_width(dim, even, 2)
        if dim % 2:
            raise ValueError(f"dim must be {even}, but is {dim!r}")
        if not 0.0 < bandwidth < math.inf:
            raise ValueError(f"bandwidth must be positive and finite, but is {bandwidth}")
        generator = torch.Generator("cpu").manual_seed(seed)
        normal = torch.randn(dim // 2, generator=generator, device="cpu", dtype=torch.float32)
        self.register_buffer("frequencies", bandwidth * normal)

    def forward(self, t: Tensor | float | Sequence[float]) -> Tensor:
        """The features of times of shape (B,)."""
        times = _times(t, self.frequencies.device)
        # Whole turns are taken off before 2 pi comes in, so that a large t costs no digits.
        turns = times.to(_finest(times.device))[:, None] * self.frequencies.to(_finest(times.device))
        angles = (turns - turns.round()) * (2 * math.pi)
        features = torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
        return features.to(_float_of(t))


def _times(given: object, device: torch.device | None = None) -> Tensor:
    """Times of shape (B,): a tensor where it is; numbers, lists and arrays of them on ``device`` (the CPU), none rounded."""
    times = given if isinstance(given, Tensor) else _tensor_of(given, device or torch.device("cpu"))
    if times.ndim == 0:
        times = times[None]
    if times.ndim != 1 or times.is_complex() or times.dtype == torch.bool:
        raise ValueError(f"timesteps must be real numbers of shape (B,), but are {times.dtype} of {tuple(times.shape)}")
    return times


def _tensor_of(given: object, device: torch.device) -> Tensor:
    try:
        array = np.asarray(given)
    except ValueError:  # lists of different lengths
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "iufb":
        raise TypeError(f"timesteps must be a number, or a tensor, an array or a list of them, but are {shown(given)}")
    if array.dtype.kind == "b":
        return torch.from_numpy(array)
    return torch.from_numpy(array.astype(np.float64)).to(device, _finest(device))


def _float_of(given: object) -> torch.dtype:
    """float64 for tensors and arrays of it, else float32: Python's own numbers have no precision that was chosen."""
    if isinstance(given, Tensor):
        return torch.float64 if given.dtype == torch.float64 else torch.float32
    return torch.float64 if isinstance(given, np.ndarray) and given.dtype == np.float64 else torch.float32


def _whole_width(dim: object, what: str, least: int) -> int:
    try:
        whole = -1 if isinstance(dim, bool) else index(dim)  # type: ignore[arg-type]
    except TypeError:
        whole = -1
    if whole < least:
        raise ValueError(f"dim must be {what}, but is {dim!r}")
    return whole


def _finest(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64
