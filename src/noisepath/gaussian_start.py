"""Where the flow of Gaussian data leads: the first part of a run, without a call of the network.

Where there is much noise, every distribution looks like the Gaussian N(m, C) of its own mean and covariance, C = V diag(v) V^T,
whose probability flow from a level t to a cleaner one, s, is known (a line through :mod:`noisepath.exact`'s denoiser):

    x_s = alpha_s m + V diag(sqrt((alpha_s^2 v + sigma_s^2) / (alpha_t^2 v + sigma_t^2))) V^T (x_t - alpha_t m)

A few directions are enough: those that are much weaker than the noise at s move as it does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._lazy import torch
from .levels import Level

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GaussianStart"]

DIRECTIONS = 16
_DIGITS = 5


@dataclass(frozen=True)
class GaussianStart:
    """A Gaussian, and the level ``first`` at which its flow starts from ``sigma * noise``."""

    first: Level
    mean: Tensor
    """(*), float64."""
    axes: Tensor
    """(R, d), the strongest directions, orthonormal."""
    variances: Tensor
    """(R,) along them, falling."""
    rest: float
    """The variance along every other direction."""

    @classmethod
    def of(cls, pictures: Tensor, first: Level, directions: int = DIRECTIONS) -> GaussianStart:
        """That of pictures (B, *), B >= 2; numbers to five digits, as they are saved."""
        x = pictures.detach().cpu().double()
        if len(x) < 2:
            raise ValueError(f"a covariance needs 2 pictures or more, but there is {len(x)}")
        mean = _rounded(x.mean(0))
        about = (x - mean).flatten(1)
        count = min(directions, *about.shape)
        axes = torch.linalg.svd(about, full_matrices=False).Vh[:count]
        variances = (about @ axes.T).square().mean(0)
        left, others = float(about.square().mean(0).sum() - variances.sum()), about.shape[1] - count
        rest = float(f"{max(left, 0.0) / others:.{_DIGITS}g}") if others else 0.0
        return cls(first, mean, _rounded(axes), _rounded(variances), rest)

    def __call__(self, noise: Tensor, level: Level) -> Tensor:
        """The state (B, *) at a level to which the flow has led from ``first.sigma * noise``; in the dtype of the noise."""
        mean, axes = self.mean.to(noise).flatten(), self.axes.to(noise)
        about = self.first.sigma * noise.flatten(1) - self.first.alpha * mean
        rest = self._factor(self.rest, level)
        factors = [self._factor(float(v), level) - rest for v in self.variances]
        own = torch.tensor(factors, dtype=torch.float64, device="cpu").to(noise)
        moved = about * rest + ((about @ axes.T) * own) @ axes
        return (moved + level.alpha * mean).view(noise.shape)

    def check(self, shape: Sequence[int], pictures: Tensor | None) -> None:
        """ValueError where a run can't begin so: pictures (B, *) of another shape, or pictures that it is to begin from."""
        if tuple(shape[1:]) != tuple(self.mean.shape):
            raise ValueError(f"this sampler's start is for pictures of shape {tuple(self.mean.shape)}, not {tuple(shape[1:])}")
        if pictures is not None:
            raise ValueError("this sampler begins with an analytic start, and can't begin from pictures: leave out start=")

    def _factor(self, variance: float, level: Level) -> float:
        here, there = (math.hypot(at.alpha * math.sqrt(variance), at.sigma) for at in (self.first, level))
        return there / here

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "first": [self.first.alpha, self.first.sigma],
            "shape": list(self.mean.shape),
            "mean": _plain(self.mean.flatten()),
            "axes": [_plain(axis) for axis in self.axes],
            "variances": _plain(self.variances),
            "rest": self.rest,
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> GaussianStart:
        """What :meth:`to_dict` told; ValueError, TypeError or KeyError for anything else."""
        values = (told[name] for name in ("mean", "axes", "variances"))
        mean, axes, variances = (torch.tensor(each, dtype=torch.float64, device="cpu") for each in values)
        alpha, sigma = map(float, told["first"])
        shape, rest = [int(size) for size in told["shape"]], float(told["rest"])
        fits = mean.shape == (math.prod(shape),) and axes.shape == (len(variances), len(mean))
        finite = all(bool(values.isfinite().all()) for values in (mean, axes, variances))
        if not (fits and finite and bool((variances >= 0).all()) and 0 <= rest < math.inf):
            raise ValueError("its start is no Gaussian")
        return cls(Level(alpha, sigma), mean.view(shape), axes, variances, rest)


def _plain(values: Tensor) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values.tolist()]


def _rounded(values: Tensor) -> Tensor:
    return torch.tensor(_plain(values.flatten()), dtype=torch.float64, device="cpu").view(values.shape)
