"""How far a network is followed where its error is multiplied.

``D = c_skip x + c_out F``: c_out is how much of the error of a network's output F reaches its denoised estimate D.  Near pure
noise sigma / alpha of it does for noise and score predictions: 157 times on the linear table, 20,291 times on the cosine one,
where a network that errs by 1 % answers with nonsense.  There D is weighed against what is known of the data,

    D' = L + w (D - L),        w(log_snr) = clip(<D - L, x_0 - L> / <D - L, D - L>, 0, 1),

with L the best linear estimate of x_0 (:mod:`noisepath.data_stats`) and w the weight of the least squared error, measured on
data that the network was not trained on, where there are some.  It is measured apart for rows with a condition and without.

For an ideal network D - L and x_0 - D are orthogonal, so w is 1; on Gaussian data L is the ideal denoiser, so every w is exact.
Where |c_out| is no larger than sqrt(2) and the deviation of the data, w is exactly 1, so that v, x0, a flow's velocity and
EDM's prediction are followed everywhere; it is as measured from twice that on.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ._lazy import torch
from .data_stats import LinearEstimate

if TYPE_CHECKING:
    from torch import Tensor

    from .conditions import Condition

__all__ = ["Limit", "is_null", "ramp"]


FREE = math.sqrt(2.0)
"""|c_out| of v is at most 1 on a variance preserving path and 1.21 on a flow, of a flow's velocity 1."""


def ramp(c_out: float, std: float | None) -> float:
    """How much of the limit holds where this much of a network's error reaches its answer: 0 up to the larger of sqrt(2) and
    the data's deviation ``std``, 1 from twice that on, linear in the logarithm between."""
    free = max(FREE, std or 0.0)
    size = abs(c_out)
    if not size > free * (1.0 + 1e-9):
        return 0.0
    return 1.0 if not size < 2.0 * free else math.log2(size / free)


@dataclass(frozen=True, eq=False)
class Limit:
    """The linear estimate L and the weights w over log-SNR.

    Args:
        estimate: L.
        log_snrs: rising; between two of them w is linear, beyond the last ones constant.
        cond, uncond: w at each of them, in [0, 1], for rows with a condition and for rows without.
        mean_image: whether the mean given the condition is the network's own, ``network.mean_image(x, **condition)``, in place
            of the class's.
    """

    estimate: LinearEstimate
    log_snrs: tuple[float, ...]
    cond: tuple[float, ...]
    uncond: tuple[float, ...]
    mean_image: bool = False

    def __post_init__(self) -> None:
        for name in ("log_snrs", "cond", "uncond"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        if not self.log_snrs or not len(self.log_snrs) == len(self.cond) == len(self.uncond):
            sizes = len(self.log_snrs), len(self.cond), len(self.uncond)
            raise ValueError(f"a limit needs a weight of each kind for each log-SNR, but there are {sizes}")
        if any(not a < b for a, b in zip(self.log_snrs, self.log_snrs[1:], strict=False)):
            raise ValueError(f"the log-SNRs of a limit rise, but are {self.log_snrs}")
        if not all(0.0 <= w <= 1.0 for w in (*self.cond, *self.uncond)):
            raise ValueError(f"the weights of a limit lie in [0, 1], but are {self.cond} and {self.uncond}")

    def weights(self, log_snr: float, c_out: float, std: float | None = None) -> tuple[float, float]:
        """w with a condition and without one, at a level where the network's output is multiplied by ``c_out``."""
        share = ramp(c_out, std)
        if share == 0.0:
            return 1.0, 1.0
        at = [_interpolated(self.log_snrs, w, log_snr) for w in (self.cond, self.uncond)]
        return share * at[0] + (1.0 - share), share * at[1] + (1.0 - share)

    def __call__(
        self,
        denoised: Tensor,
        x: Tensor,
        alpha: float,
        sigma: float,
        weights: tuple[float, float],
        condition: Condition | None = None,
        null: Condition | None = None,
        mean: Tensor | None = None,
    ) -> Tensor:
        """D' of the network's D, both (B, *), for x at the level (alpha, sigma); ``mean``: the network's own mean image."""
        linear = self.linear(x, alpha, sigma, condition, mean)
        cond, uncond = weights
        if condition is None or cond == uncond:
            return torch.lerp(linear, denoised, uncond if condition is None else cond)
        w = torch.where(is_null(condition, null), uncond, cond).to(x.dtype).view(-1, *[1] * (x.ndim - 1))
        return torch.lerp(linear, denoised, w)

    def linear(
        self, x: Tensor, alpha: float, sigma: float, condition: Condition | None = None, mean: Tensor | None = None
    ) -> Tensor:
        """L at x, (B, *); at pure noise the mean given the condition."""
        return self.estimate(x, alpha, sigma, None if condition is None else condition.get("label"), mean)

    def to_dict(self) -> dict[str, Any]:
        """The weights as plain values for JSON; the estimate is stored as tensors."""
        return {"log_snrs": self.log_snrs, "cond": self.cond, "uncond": self.uncond, "mean_image": self.mean_image}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], estimate: LinearEstimate) -> Self:
        """The inverse of :meth:`to_dict`."""
        names = ("log_snrs", "cond", "uncond")
        if set(values) != {*names, "mean_image"}:
            raise ValueError(f"a stored limit has {', '.join(names)} and mean_image, but this one has {sorted(values)}")
        log_snrs, cond, uncond = (tuple(values[name]) for name in names)
        return cls(estimate, log_snrs, cond, uncond, bool(values["mean_image"]))


def is_null(condition: Condition, null: Condition | None) -> Tensor:
    """Which rows of a condition say nothing, (B,) boolean: all their parts are the null's."""
    first = next(iter(condition.values()))
    rows = torch.ones(len(first), dtype=torch.bool, device=first.device)
    if null is None:
        return ~rows
    for name, value in condition.items():
        if name not in null:
            return torch.zeros_like(rows)
        blank = null[name].to(value.device, value.dtype)
        same = value == blank
        if value.is_floating_point():
            same = same | (value.isnan() & blank.isnan())
        rows &= same.flatten(1).all(1) if same.ndim > 1 else same
    return rows


def _interpolated(at: Sequence[float], values: Sequence[float], place: float) -> float:
    """Linear between the places, constant beyond them."""
    right = bisect_left(at, place)
    if right == 0 or right == len(at):
        return values[min(right, len(at) - 1)]
    share = (place - at[right - 1]) / (at[right] - at[right - 1])
    return values[right - 1] + share * (values[right] - values[right - 1])
