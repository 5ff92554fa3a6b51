"""A noise level: how much of the picture and how much noise a state holds.

Every state of a diffusion is ``x = alpha * x_0 + sigma * noise``.  A :class:`Level` is that pair, and either number
may be exactly 0: ``sigma = 0`` is data, ``alpha = 0`` is pure noise.  Levels are compared through

    log_snr = log(alpha^2 / sigma^2),     half_log_snr = log(alpha / sigma),     noise_ratio = sigma / alpha,

which fall, fall and rise from data to noise, and are infinite (or 0) at the two ends.  Two levels of one log-SNR hold
the same information: they differ by the scale of x alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import is_number, shown

__all__ = ["Level"]


@dataclass(frozen=True, slots=True)
class Level:
    """One noise level ``(alpha, sigma)``: both finite, neither negative, not both 0."""

    alpha: float
    sigma: float

    def __post_init__(self) -> None:
        if type(self.alpha) is not float or type(self.sigma) is not float:  # numpy's numbers would compute in their own type
            for name in ("alpha", "sigma"):
                value = getattr(self, name)
                if not is_number(value):
                    raise TypeError(f"{name} of a level is a number, but got {shown(value)}")
                object.__setattr__(self, name, float(value))
        if not (0.0 <= self.alpha < math.inf and 0.0 <= self.sigma < math.inf and self.alpha + self.sigma > 0.0):
            raise ValueError(
                f"a level needs finite alpha >= 0 and sigma >= 0, not both 0, but got alpha={self.alpha}, sigma={self.sigma}"
            )

    @classmethod
    def from_log_snr(cls, log_snr: float) -> Level:
        """The variance-preserving level (``alpha^2 + sigma^2 = 1``) of a log-SNR; ``+-inf`` give the exact ends."""
        if math.isnan(log_snr):
            raise ValueError("log_snr is NaN; a level needs a number or +-inf")
        fade = math.exp(-abs(log_snr))
        greater = 1.0 / math.sqrt(1.0 + fade)
        lesser = math.exp(-abs(log_snr) / 2.0) * greater
        return cls(greater, lesser) if log_snr >= 0.0 else cls(lesser, greater)

    @property
    def half_log_snr(self) -> float:
        """``log(alpha / sigma)``: ``inf`` for data, ``-inf`` for pure noise."""
        if self.sigma == 0.0:
            return math.inf
        if self.alpha == 0.0:
            return -math.inf
        return math.log(self.alpha) - math.log(self.sigma)

    @property
    def log_snr(self) -> float:
        """``log(alpha^2 / sigma^2)``: ``inf`` for data, ``-inf`` for pure noise."""
        return 2.0 * self.half_log_snr

    @property
    def noise_ratio(self) -> float:
        """``sigma / alpha``, EDM's sigma: 0 for data, ``inf`` for pure noise."""
        return math.inf if self.alpha == 0.0 else self.sigma / self.alpha

    @property
    def is_data(self) -> bool:
        """No noise at all: ``sigma == 0``."""
        return self.sigma == 0.0

    @property
    def is_noise(self) -> bool:
        """Nothing but noise: ``alpha == 0``."""
        return self.alpha == 0.0
