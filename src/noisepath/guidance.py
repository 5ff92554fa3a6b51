"""Guidance and its like: functions from a denoiser to a denoiser, which nest.

A transformer wraps the *run* of a denoiser (what :func:`noisepath.denoiser.begin` gives), so that memory and tables of
what is inside stay fresh in every run; ``schedule``, ``null`` and ``info`` of the inner denoiser show through.  Solvers
never learn of any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._lazy import torch
from .conditions import Condition
from .denoiser import Denoise, Moved, begin
from .levels import Level

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GUIDANCES", "Transformed", "classifier_free", "clip"]


@dataclass(frozen=True)
class Transformed:
    """``inner`` seen through ``transform``, a function from the inner run to the outer one."""

    inner: Denoise
    transform: Callable[[Denoise], Denoise]

    def begin(self, levels: Iterable[Level]) -> Denoise:
        """A fresh run: the inner one's, transformed."""
        return self.transform(begin(self.inner, levels))

    def __call__(self, x: Tensor, level: Level, condition: Condition | None = None) -> Tensor | Moved:
        return self.begin([level])(x, level, condition)

    def __getattr__(self, name: str) -> Any:
        if name in ("schedule", "null", "info", "sigma_data", "data_scale", "prediction", "network"):
            return getattr(self.inner, name)
        raise AttributeError(f"a transformed denoiser has no {name!r}")


def classifier_free(denoiser: Denoise, scale: float) -> Denoise:
    """Classifier-free guidance: D = D_null + scale * (D_condition - D_null)  (Ho & Salimans 2207.12598, eq. 6).

    ``scale`` 1 means no guidance (the denoiser itself comes back), 0 the unconditional belief.  (The paper's w is
    scale - 1.)  Both beliefs come from one call of the network, on both batches after another.  The model needs a null
    condition (``denoiser.null``: it was trained with its condition dropped now and then), the run a condition.
    """
    if not torch.isfinite(torch.tensor(float(scale))):
        raise ValueError(f"a guidance scale must be a finite number (1 means no guidance), but got {scale}")
    if scale == 1:
        return denoiser
    null: Condition | None = getattr(denoiser, "null", None)
    if null is None:
        raise ValueError(
            "this model has no null condition, so it can't be guided: train it with a condition and condition dropout, "
            "or use scale 1"
        )

    def transform(run: Denoise) -> Denoise:
        def guided(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
            if condition is None:
                raise ValueError(f"guidance with scale {scale:g} needs a condition to guide towards, but got none")
            both = Condition.cat([condition, null.to(x.device).expand(len(x))])
            told, untold = _belief(run(torch.cat([x, x]), level, both)).chunk(2)
            return torch.lerp(untold, told, scale)

        return guided

    return Transformed(denoiser, transform)


def clip(denoiser: Denoise, low: float = -1.0, high: float = 1.0) -> Denoise:
    """The belief held to the data's range, [-1, 1] for pictures (clip_denoised of Ho et al. 2006.11239; never a default)."""
    if not low < high:
        raise ValueError(f"clipping needs low < high, but got {low} and {high}")

    def transform(run: Denoise) -> Denoise:
        def clipped(x: Tensor, level: Level, condition: Condition | None = None) -> Tensor:
            return _belief(run(x, level, condition)).clamp(low, high)

        return clipped

    return Transformed(denoiser, transform)


def _belief(output: Tensor | Moved) -> Tensor:
    if isinstance(output, Moved):
        raise TypeError("a denoiser that moves the state must be the outermost one: put this transformer inside it")
    return output


GUIDANCES: dict[str, Callable[..., Denoise]] = {"classifier_free": classifier_free, "clip": clip}
