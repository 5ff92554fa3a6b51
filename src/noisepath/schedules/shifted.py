"""Any schedule moved to another resolution: more noise, or less, at each time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..scalings import SCALINGS
from .base import Derived, Schedule

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Shifted"]


@dataclass(frozen=True)
class Shifted(Derived):
    """Another schedule with ``factor`` times the noise at each time: sigma / alpha is multiplied, the frame is kept.

    Larger pictures need more noise for the same destruction.  Simple diffusion (Hoogeboom et al. 2301.11093, eq. 4)
    uses ``factor = resolution / 64``; SD3 (Esser et al. 2403.03206, eq. 23) ``factor = sqrt(pixels / pixels before)``,
    which on a flow is t -> factor t / (1 + (factor - 1) t).
    """

    base: Schedule
    factor: float

    def __post_init__(self) -> None:
        if not 0 < self.factor < math.inf:
            raise ValueError(f"a shift needs a finite factor above 0, but got {self.factor}")

    def log_snr(self, t: Tensor) -> Tensor:
        return self.base.log_snr(t) - 2 * math.log(self.factor)

    def t(self, log_snr: Tensor) -> Tensor:
        return self.base.t(log_snr + 2 * math.log(self.factor))

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return _shifted_rates(self.base, self.factor, t)


def _shifted_rates(base: Schedule, factor: float, t: Tensor) -> tuple[Tensor, Tensor]:
    """Rates of (alpha, factor sigma) brought back to the base's frame, by the frame's own identity between the two rates
    (alpha alpha' = -sigma sigma' and its like), which leaves no product of 0 and infinity at an end."""
    alpha, sigma = base.alpha_sigma(t)
    alpha_rate, sigma_rate = base.rates(t)
    if base.scaling == "exploding":
        return alpha_rate, factor * sigma_rate
    if base.scaling == "flow":
        stretch = factor / (alpha + factor * sigma) ** 2
        return stretch * alpha_rate, stretch * sigma_rate
    if base.scaling == "preserving":
        stretch = factor / (alpha**2 + (factor * sigma) ** 2) ** 1.5
        return factor * stretch * alpha_rate, stretch * sigma_rate
    moved, _ = SCALINGS["sub_vp"].alpha_sigma(base.log_snr(t) - 2 * math.log(factor))
    moved_rate = factor * (moved / alpha) ** 2 * (1 + alpha**2) / (1 + moved**2) * alpha_rate
    return moved_rate, -2 * moved * moved_rate
