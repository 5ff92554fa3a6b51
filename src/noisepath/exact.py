"""Ideal denoisers in closed form: data whose answer is known.

For data that are a Gaussian, a mixture of Gaussians or a finite set of pictures, everything a network would have to learn
is a formula.  With ``x = alpha x_0 + sigma noise`` and x_0 from N(m, C), C = V diag(v) V^T:

    p_t = N(alpha m, alpha^2 C + sigma^2 I),     D(x) = m + V diag(alpha v / (alpha^2 v + sigma^2)) V^T (x - alpha m)

and for a mixture (a finite set is one with C = 0) D is the mean of the components' beliefs, weighted by how probable each
is at x.  At sigma = 0 every D is x / alpha.  Schedules, solvers and guidance are tested against these; a solver can be
studied on them without training anything.

All is worked out in float64 (float32 where a device has none) and given in x's dtype; one picture may have any shape.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import noise
from ._lazy import torch
from .conditions import Condition
from .errors import shown, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from .levels import Level
    from .schedules import Schedule

__all__ = ["Exact", "ExactDenoiser", "FiniteData", "Gaussian", "Mixture"]

# Distances of this many (picture, point) pairs are held at once: 32 MiB in float64.
_PAIRS = 1 << 22


class Exact(ABC):
    """What the three kinds share: ``belief``, ``log_p``, ``sample`` and the denoiser made of them."""

    shape: tuple[int, ...]
    components: int

    @abstractmethod
    def belief(self, x: Tensor, level: Level, component: Tensor | None = None) -> Tensor:
        """E[x_0 | x], (B, *); with ``component`` (B,), int64, given that x_0 came from it (``components``: from any)."""

    @abstractmethod
    def log_p(self, x: Tensor, level: Level) -> Tensor:
        """log p_t(x) at a level with sigma > 0, natural logarithm, float64 (B,)."""

    @abstractmethod
    def sample(self, n: int, seed: int = 0) -> Tensor:
        """n draws of p(x_0), float64 (n, *): draw i is a function of (seed, i)."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.components} component{'s' * (self.components != 1)} of shape {self.shape})"

    def denoiser(self, schedule: Schedule | str | None = None) -> ExactDenoiser:
        """The ideal denoiser, for any level; ``schedule``, or its name, is where its runs take their levels from by default."""
        from .schedules import as_schedule

        return ExactDenoiser(self, None if schedule is None else as_schedule(schedule))

    def _rows(self, x: Tensor) -> Tensor:
        """x as float64 rows (B, d), or the error for another shape."""
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"pictures of shape {self.shape} expected, but x is {tuple(x.shape)}")
        return x.reshape(len(x), -1).to(torch.float32 if x.device.type == "mps" else torch.float64)


@dataclass(frozen=True)
class ExactDenoiser:
    """An exact belief as a denoiser.  ``label`` in its condition asks for one component; its null asks for all."""

    data: Exact
    schedule: Schedule | None = None

    @property
    def null(self) -> Condition:
        """The condition of one picture that asks for no component in particular."""
        return Condition(label=torch.tensor([self.data.components], device="cpu"))

    def __call__(self, x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
        if level.is_data:
            return x / level.alpha
        for name in condition or ():
            if name != "label":
                raise unknown("condition of an exact denoiser", name, ["label"])
        component = None if condition is None else condition["label"]
        return self.data.belief(x, level, component)


class Mixture(Exact):
    """A mixture of Gaussians with full covariances.

    Args:
        weights: (K,), positive; they are divided by their sum.
        means: (K, *).
        covariances: (K, d, d) symmetric and not negative, d the number of values of one picture; or (K, d) variances
            of independent values; or (K,) the variance of every value.
    """

    def __init__(
        self,
        weights: Tensor | Sequence[float],
        means: Tensor | Sequence[Sequence[float]],
        covariances: Tensor | Sequence[float],
    ) -> None:
        weights, means = _double(weights, "the weights"), _double(means, "the means")
        covariances = _double(covariances, "the covariances")
        if weights.ndim != 1 or means.ndim < 2 or len(means) != len(weights) or len(covariances) != len(weights):
            raise ValueError(
                f"weights (K,), means (K, *) and covariances (K, d, d) expected, but got {tuple(weights.shape)}, "
                f"{tuple(means.shape)} and {tuple(covariances.shape)}"
            )
        if not bool((weights > 0).all()):
            raise ValueError(f"the weights of a mixture must be above 0, but got {weights.tolist()}")
        self.shape = tuple(means.shape[1:])
        self.components = len(weights)
        self.log_weights = torch.log(weights / weights.sum())
        self.means = means.reshape(len(means), -1)
        self.variances, self.axes = _principal(covariances, self.means.shape[1])

    def _centred(self, x: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        """x about each component's mean in its own axes (B, K, d), and the variance there at the level (K, d)."""
        means, axes, variances = (v.to(x) for v in (self.means, self.axes, self.variances))
        about = torch.einsum("bkd,kde->bke", x[:, None] - level.alpha * means, axes)
        return about, level.alpha**2 * variances + level.sigma**2

    def _log_joint(self, about: Tensor, variance: Tensor) -> Tensor:
        """log of weight times density of each component, (B, K)."""
        quadratic = (about**2 / variance).sum(2) + torch.log(2 * math.pi * variance).sum(1)
        return self.log_weights.to(about) - 0.5 * quadratic

    def belief(self, x: Tensor, level: Level, component: Tensor | None = None) -> Tensor:
        about, variance = self._centred(self._rows(x), level)
        joint = self._log_joint(about, variance)
        if component is not None:
            asked = _check_component(component, self.components)[:, None]
            others = (asked != torch.arange(self.components, device=asked.device)) & (asked < self.components)
            joint = joint.masked_fill(others.to(joint.device), -math.inf)
        gain = level.alpha * self.variances.to(about) / variance
        shrunk = torch.einsum("bke,kde->bkd", about * gain, self.axes.to(about)) + self.means.to(about)
        return torch.einsum("bk,bkd->bd", torch.softmax(joint, 1), shrunk).reshape(x.shape).to(x.dtype)

    def log_p(self, x: Tensor, level: Level) -> Tensor:
        if level.is_data and not bool((self.variances > 0).all()):
            raise ValueError("log p is infinite at sigma = 0 where a covariance is singular; ask at a level with sigma > 0")
        return torch.logsumexp(self._log_joint(*self._centred(self._rows(x), level)), 1)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        chosen = _choose(self.log_weights.exp(), noise.uniform(noise.key(seed, "component"), range(n)))
        z = noise.normal(noise.key(seed, "exact"), range(n), (self.means.shape[1],)).double()
        spread = torch.einsum("be,bde->bd", z * self.variances[chosen].sqrt(), self.axes[chosen])
        return (self.means[chosen] + spread).reshape(n, *self.shape)


class Gaussian(Mixture):
    """A Gaussian with full covariance: mean (*), covariance (d, d), or (d,) variances, or one variance."""

    def __init__(self, mean: Tensor | Sequence[float], covariance: Tensor | Sequence[float] | float) -> None:
        super().__init__([1.0], _double(mean, "the mean")[None], _double(covariance, "the covariance")[None])

    def flow(self, x: Tensor, start: Level, end: Level) -> Tensor:
        """Where the probability-flow ODE carries x from one level to another, exactly: (B, *).

        In each principal axis the state keeps its quantile: x - alpha m scales with the standard deviation.
        """
        about, variance = self._centred(self._rows(x), start)
        scale = torch.sqrt((end.alpha**2 * self.variances + end.sigma**2).to(about) / variance)
        moved = torch.einsum("bke,kde->bkd", about * scale, self.axes.to(about)) + end.alpha * self.means.to(about)
        return moved[:, 0].reshape(x.shape).to(x.dtype)


class FiniteData(Exact):
    """A finite data set, each picture equally probable: the ideal denoiser of a model that has memorised its data.

    ``points``: (N, *).  Works through the points in pieces, so that memory stays bounded whatever N is.
    """

    def __init__(self, points: Tensor) -> None:
        points = _double(points, "the points")
        if points.ndim < 2 or len(points) == 0:
            raise ValueError(f"points of shape (N, *) with N >= 1 expected, but got {tuple(points.shape)}")
        self.shape = tuple(points.shape[1:])
        self.components = len(points)
        self.points = points.reshape(len(points), -1)

    def _pieces(self, x: Tensor) -> Iterator[Tensor]:
        size = max(1, _PAIRS // max(len(x), x.shape[1]))
        for start in range(0, len(self.points), size):
            yield self.points[start : start + size].to(x)

    def _logits(self, x: Tensor, points: Tensor, level: Level) -> Tensor:
        """-|x - alpha p|^2 / (2 sigma^2) up to what x alone decides, (B, piece)."""
        return level.alpha * (x @ points.T - 0.5 * level.alpha * (points**2).sum(1)) / level.sigma**2

    def _reduce(self, x: Tensor, level: Level) -> tuple[Tensor, Tensor]:
        """log-sum-exp of the logits over all points (B,), and the weighted mean of the points (B, d)."""
        top = x.new_full((len(x), 1), -math.inf)
        total, mean = torch.zeros_like(top), torch.zeros_like(x)
        for points in self._pieces(x):
            logits = self._logits(x, points, level)
            higher = torch.maximum(top, logits.max(1, keepdim=True).values)
            weights, fade = torch.exp(logits - higher), torch.exp(top - higher)
            total = total * fade + weights.sum(1, keepdim=True)
            mean = mean * fade + weights @ points
            top = higher
        return (top + total.log())[:, 0], mean / total

    def belief(self, x: Tensor, level: Level, component: Tensor | None = None) -> Tensor:
        _, mean = self._reduce(self._rows(x), level)
        if component is not None:
            asked = _check_component(component, self.components).to(mean.device)[:, None]
            known = self.points.to(mean)[asked[:, 0].clamp(max=self.components - 1)]
            mean = torch.where(asked < self.components, known, mean)
        return mean.reshape(x.shape).to(x.dtype)

    def log_p(self, x: Tensor, level: Level) -> Tensor:
        if level.is_data:
            raise ValueError("log p of a finite data set is infinite at sigma = 0; ask at a level with sigma > 0")
        rows = self._rows(x)
        log_sum, _ = self._reduce(rows, level)
        own = -0.5 * (rows**2).sum(1) / level.sigma**2 - 0.5 * rows.shape[1] * math.log(2 * math.pi * level.sigma**2)
        return log_sum + own - math.log(self.components)

    def sample(self, n: int, seed: int = 0) -> Tensor:
        u = noise.uniform(noise.key(seed, "component"), range(n))
        return self.points[(u * self.components).long()].reshape(n, *self.shape)


def _double(values: Tensor | Sequence[Any] | float, what: str) -> Tensor:
    """float64, a tensor on its own device and anything else on the CPU, whatever torch's defaults are.

    TypeError for what are no numbers, ValueError for NaN and infinity.
    """
    tensor = values if isinstance(values, torch.Tensor) else None
    if tensor is None:
        try:
            tensor = torch.as_tensor(values, dtype=torch.float64, device="cpu")
        except (TypeError, ValueError, RuntimeError):  # texts, None, rows of several lengths
            raise TypeError(f"{what} must be numbers, a tensor, an array or a list of them, but got {shown(values)}") from None
    if tensor.is_complex() or tensor.device.type == "meta":
        raise TypeError(f"{what} must be real numbers on a device that holds them, but got {tensor.dtype} on {tensor.device}")
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"{what} must be finite, but got {shown(tensor.tolist())}")
    return tensor.to(torch.float64)


def _principal(covariances: Tensor, d: int) -> tuple[Tensor, Tensor]:
    """Variances (K, d) and axes (K, d, d) of covariances in any of their three forms."""
    k = len(covariances)
    if covariances.shape == (k, d, d):
        if not torch.allclose(covariances, covariances.mT):
            raise ValueError("a covariance must be symmetric")
        variances, axes = torch.linalg.eigh(covariances)
    elif covariances.shape in ((k,), (k, d)):
        variances = covariances.reshape(k, -1).expand(k, d)
        axes = torch.eye(d, dtype=torch.float64, device=covariances.device).expand(k, d, d)
    else:
        raise ValueError(f"covariances ({k}, {d}, {d}), ({k}, {d}) or ({k},) expected, but got {tuple(covariances.shape)}")
    if bool((variances < -1e-12 * variances.abs().max()).any()):
        raise ValueError(f"a covariance has a negative variance: {float(variances.min()):g}")
    return variances.clamp(min=0), axes


def _choose(probabilities: Tensor, u: Tensor) -> Tensor:
    return torch.searchsorted(probabilities.cumsum(0), u).clamp(max=len(probabilities) - 1)


def _check_component(component: Tensor, components: int) -> Tensor:
    if component.ndim != 1:
        raise ValueError(f"a label is one number for each picture, of shape (B,), but got shape {tuple(component.shape)}")
    if component.is_floating_point() or component.dtype == torch.bool:
        raise ValueError(f"a label is a component's number, int64, but got {component.dtype}")
    if bool(((component < 0) | (component > components)).any()):
        raise ValueError(f"a component must be 0 .. {components - 1}, or {components} for any, but got {component.tolist()}")
    return component
