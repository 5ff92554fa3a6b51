"""Guidance by a second model: a worse one to lead away from, or one that says how well a picture fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .._lazy import torch
from ..conditions import Condition
from ..denoiser import Denoise
from ..errors import shown
from ..levels import Level
from .told import ByLevel, Given, Scale
from .transformed import Transformed, belief

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["autoguidance", "classifier"]

_NEARLY_NOISE = 5e-3
"""alpha / sigma where the limit at pure noise is taken from: tables that end in pure noise have entries up to there."""


def autoguidance(
    good: Denoise,
    bad: Denoise,
    scale: float | Tensor | ByLevel,
    *,
    interval: tuple[float, float] | None = None,
) -> Denoise:
    """Away from a worse model of the same data: D = D_bad + scale * (D_good - D_bad)  (Karras et al. 2406.02507).

    good: what comes back with scale 1.  bad: a smaller or less trained one, or an earlier moving average; it may have
        been trained on another path, as it is asked at levels.  Both are told the run's condition, in one call each.
    scale: as in :func:`classifier_free`; 1 means none.
    interval: (low, high) of sigma / alpha, out of which ``good`` alone is asked.

    ValueError for a scale that is not finite or an empty interval.
    """
    chosen = Scale.of(scale, interval=interval)
    if chosen.is_none:
        return good

    def transform(run: Denoise, worse: Denoise, scale: Scale) -> Denoise:
        def guided(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
            here = scale.at(x, level)
            better = belief(run(x, level, condition))
            if not isinstance(here, torch.Tensor) and here == 1.0:
                return better
            return torch.lerp(belief(worse(x, level, condition)), better, here)

        return guided

    return Transformed(good, transform, (bad,), (chosen,), stateless=True, name="autoguidance")


def classifier(
    denoiser: Denoise,
    log_p: Callable[..., Tensor],
    scale: float | Tensor | ByLevel = 1.0,
    *,
    towards: Condition | None = None,
    interval: tuple[float, float] | None = None,
) -> Denoise:
    """Guidance by any differentiable function of the belief: D + scale * (sigma^2 / alpha) grad_x log p(D(x)).

    By Bayes' rule the score of the pictures that have a property is the score of all plus grad_x log p(property | x)
    (Dhariwal & Nichol 2105.05233, section 4), and D = (x + sigma^2 score) / alpha; the property is read off the belief, as an
    ordinary classifier knows clean pictures only (Bansal et al. 2302.07121).  The gradient goes through the network: a
    call costs a backward pass and its memory.  At pure noise the limit is taken, with one more call nearby.

    Args:
        log_p: called as ``log_p(pictures)``, or ``log_p(pictures, towards)``; gives (B,), each of its own picture.
        scale: here 0 means no guidance, and 1 is Bayes' rule; else as in :func:`classifier_free`.
        towards: what ``log_p`` is told, of one row or one for each picture: classes, another picture ...; the run's
            condition goes to the model.
        interval: (low, high) of sigma / alpha, out of which there is no guidance.

    ValueError for a scale that is not finite, an empty interval, a ``log_p`` of another shape or that the belief does not
    reach through differentiable steps.
    """
    if not callable(log_p):
        raise TypeError(f"log_p is a function of pictures, (B, *) -> (B,), but got {shown(log_p)}")
    chosen = Scale.of(scale, none=0.0, interval=interval)
    if chosen.is_none:
        return denoiser

    def transform(run: Denoise, *told: Given | Scale) -> Denoise:
        scale = next(part for part in told if isinstance(part, Scale))
        given = [part for part in told if isinstance(part, Given)]

        def guided(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
            here = scale.at(x, level)
            if level.is_data or (not isinstance(here, torch.Tensor) and here == 0.0):
                return belief(run(x, level, condition))
            said = [part.of(x) for part in given]
            near = Level(_NEARLY_NOISE * level.sigma, level.sigma) if level.is_noise else level
            believed, slope = _with_slope(run, near, condition, lambda D: log_p(D, *map(_recordable, said)), x)
            if near is not level:
                believed = belief(run(x, level, condition))
            return believed + here * (near.sigma**2 / near.alpha) * slope

        return guided

    said = (chosen,) if towards is None else (Given(towards), chosen)
    return Transformed(denoiser, transform, (), said, stateless=True, name="classifier")


def _with_slope(
    run: Denoise, level: Level, condition: Condition | None, log_p: Callable[[Tensor], Tensor], x: Tensor
) -> tuple[Tensor, Tensor]:
    """The belief at x, and the gradient of its log p with regard to x; within ``torch.inference_mode`` too."""
    outer = torch.is_grad_enabled() and x.requires_grad  # somebody wants a gradient through this one
    with torch.inference_mode(False), torch.enable_grad():
        at = x if outer else _of_its_own(x).detach().requires_grad_()
        told = None if condition is None else _recordable(condition)
        try:
            believed = belief(run(at, level, told))
            value = log_p(believed)
        except RuntimeError as error:
            if "Inference tensors" not in str(error):
                raise
            raise ValueError(
                "classifier guidance takes a gradient, but the weights of the model, or a tensor of log_p, were made within "
                "torch.inference_mode(), where nothing has one: load the model outside of it (sampling may stay inside)"
            ) from error
        if not isinstance(value, torch.Tensor) or value.shape != (len(x),):
            got = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
            raise ValueError(f"log_p must give a tensor ({len(x)},), one number for each picture, but gave {got}")
        if not value.requires_grad:
            raise ValueError("log_p's answer has no gradient: model and log_p must let it through (no detach, no no_grad)")
        (slope,) = torch.autograd.grad(value.sum(), at, create_graph=outer)
    return (believed, slope) if outer else (believed.detach(), slope)


def _recordable(condition: Condition) -> Condition:
    """The condition, of tensors that a gradient may know."""
    return Condition({name: _of_its_own(value) for name, value in condition.items()})


def _of_its_own(value: Tensor) -> Tensor:
    """The tensor, or where it was made within ``torch.inference_mode`` a copy that a gradient may know."""
    return value.clone() if value.is_inference() else value
