"""Any schedule moved to another resolution: more noise, or less, at each time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._lazy import torch
from ..errors import numbers
from ..scalings import SCALINGS
from .base import Derived, Schedule, rates_from_slope

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Shifted"]

_NEARBY = 1e-5
"""Of the time axis: so far from an exact end the limit of a rate is looked for."""


@dataclass(frozen=True)
class Shifted(Derived):
    """Another schedule with ``factor`` times the noise at each time: sigma / alpha is multiplied, the frame is kept.

    Larger pictures need more noise for the same destruction.  Simple diffusion (Hoogeboom et al. 2301.11093, eq. 4)
    uses ``factor = resolution / 64``; SD3 (Esser et al. 2403.03206, eq. 23) ``factor = sqrt(pixels / pixels before)``,
    which on a flow is t -> factor t / (1 + (factor - 1) t).  ``base`` may be a schedule's name.
    """

    base: Schedule
    factor: float

    def __post_init__(self) -> None:
        from . import as_schedule

        object.__setattr__(self, "base", as_schedule(self.base))
        numbers(self, "factor")
        if not 0 < self.factor < math.inf:
            raise ValueError(f"a shift needs a finite factor above 0, but got {self.factor}")

    def log_snr(self, t: Tensor) -> Tensor:
        return self.base.log_snr(t) - 2 * math.log(self.factor)

    def t(self, log_snr: Tensor) -> Tensor:
        return self.base.t(log_snr + 2 * math.log(self.factor))

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.base.alpha_sigma(t)
        alpha_rate, sigma_rate = self.base.rates(t)
        own = SCALINGS[self.scaling].shifted_rates
        if own is not None:
            return own(alpha, sigma, alpha_rate, sigma_rate, self.factor)
        return self._rates_by_skip(t)

    def _rates_by_skip(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Of any frame: a shift leaves the slope of log-SNR as it is.  At a level of exact data or exact noise, where that is
        infinite, the limit is taken along the line through two times nearby."""
        alpha, sigma = self.base.alpha_sigma(t)
        end = (alpha == 0.0) | (sigma == 0.0)
        length = self.t_max - self.t_min
        near = torch.where(alpha == 0.0, -_NEARBY, _NEARBY) * length
        once, twice = (self._rates_inside(torch.where(end, t + n * near, t)) for n in (1, 2))
        alpha_rate, sigma_rate = (torch.where(end, 2 * a - b, a) for a, b in zip(once, twice, strict=True))
        return alpha_rate, sigma_rate

    def _rates_inside(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.base.alpha_sigma(t)
        alpha_rate, sigma_rate = self.base.rates(t)
        return rates_from_slope(self, t, 2 * (alpha_rate / alpha - sigma_rate / sigma))
