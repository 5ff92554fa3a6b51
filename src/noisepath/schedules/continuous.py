"""Continuous schedules, t in [0, 1] (EDM: t = sigma): variance preserving, sub-VP, flow, EDM, Laplace."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from .._lazy import torch
from ..errors import numbers
from ..scalings import SCALINGS
from .base import Schedule, rates_from_slope

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["EDM", "Flow", "Laplace", "SubVP", "VPCosine", "VPLinear"]


@dataclass(frozen=True)
class VPLinear(Schedule):
    """Continuous DDPM: beta(t) rises linearly (Song et al. 2011.13456, eq. 32-33; t in [0, 1]).

    alpha_bar(t) = exp(-B(t)), B(t) = beta_min t + (beta_max - beta_min) t^2 / 2.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-3
    t_max: ClassVar[float] = 1.0
    scaling: ClassVar[str] = "preserving"

    def __post_init__(self) -> None:
        numbers(self, "beta_min", "beta_max", "t_min")
        if not 0 < self.beta_min <= self.beta_max < math.inf:
            raise ValueError(f"0 < beta_min <= beta_max expected, but got {self.beta_min} and {self.beta_max}")
        _check_t_min(self.t_min, 1.0)

    def _integral(self, t: Tensor) -> Tensor:
        return t * (self.beta_min + 0.5 * (self.beta_max - self.beta_min) * t)

    def log_snr(self, t: Tensor) -> Tensor:
        return -torch.log(torch.expm1(self._integral(t)))

    def t(self, log_snr: Tensor) -> Tensor:
        integral = torch.nn.functional.softplus(-log_snr, threshold=1e3)  # log(1 + exp(-l)) = -log(alpha_bar)
        return 2 * integral / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * integral))

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        integral = self._integral(t)
        return torch.exp(-0.5 * integral), torch.sqrt(-torch.expm1(-integral))

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.alpha_sigma(t)
        beta = self.beta_min + (self.beta_max - self.beta_min) * t
        return -0.5 * beta * alpha, 0.5 * beta * alpha**2 / sigma


@dataclass(frozen=True)
class SubVP(VPLinear):
    """Sub-VP: the same beta(t) with less noise on the way (Song et al. 2011.13456, eq. 28): sigma = 1 - alpha^2."""

    scaling: ClassVar[str] = "sub_vp"

    def log_snr(self, t: Tensor) -> Tensor:
        integral = self._integral(t)
        return -integral - 2 * torch.log(-torch.expm1(-integral))

    def t(self, log_snr: Tensor) -> Tensor:
        alpha, sigma = SCALINGS["sub_vp"].alpha_sigma(log_snr)
        # -log(alpha^2), through whichever of alpha and sigma = 1 - alpha^2 keeps its digits
        integral = torch.where(sigma < 0.5, -torch.log1p(-sigma), -2 * torch.log(alpha))
        return 2 * integral / (self.beta_min + torch.sqrt(self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * integral))

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        integral = self._integral(t)
        return torch.exp(-0.5 * integral), -torch.expm1(-integral)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, _ = self.alpha_sigma(t)
        beta = self.beta_min + (self.beta_max - self.beta_min) * t
        return -0.5 * beta * alpha, beta * alpha**2


@dataclass(frozen=True)
class VPCosine(Schedule):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2): from exact data to exact noise (Salimans & Ho 2202.00512)."""

    t_min: ClassVar[float] = 0.0
    t_max: ClassVar[float] = 1.0
    scaling: ClassVar[str] = "preserving"

    def log_snr(self, t: Tensor) -> Tensor:
        alpha, sigma = self.alpha_sigma(t)
        return 2 * (torch.log(alpha) - torch.log(sigma))

    def t(self, log_snr: Tensor) -> Tensor:
        return torch.atan(torch.exp(-log_snr / 2)) * (2 / math.pi)

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        # the cosine as a sine of what is left: exactly 0 at t = 1, and accurate near it
        return torch.sin((1 - t) * (math.pi / 2)), torch.sin(t * (math.pi / 2))

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = self.alpha_sigma(t)
        return -math.pi / 2 * sigma, math.pi / 2 * alpha


@dataclass(frozen=True)
class Flow(Schedule):
    """Rectified flow, a straight line from data to noise (Liu et al. 2209.03003): alpha = 1 - t, sigma = t."""

    t_min: ClassVar[float] = 0.0
    t_max: ClassVar[float] = 1.0
    scaling: ClassVar[str] = "flow"

    def log_snr(self, t: Tensor) -> Tensor:
        return 2 * (torch.log1p(-t) - torch.log(t))

    def t(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-log_snr / 2)

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - t, t

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full_like(t, -1.0), torch.ones_like(t)


@dataclass(frozen=True)
class EDM(Schedule):
    """Variance exploding with t = sigma (Karras et al. 2206.00364, Table 1): alpha = 1, sigma = t.

    ``sigma_min`` and ``sigma_max`` bound a run; the network may be asked at any sigma >= 0.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    t_high: ClassVar[float] = math.inf
    scaling: ClassVar[str] = "exploding"

    def __post_init__(self) -> None:
        numbers(self, "sigma_min", "sigma_max")
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise ValueError(f"0 < sigma_min < sigma_max expected, but got {self.sigma_min} and {self.sigma_max}")

    @property
    def t_min(self) -> float:
        return self.sigma_min

    @property
    def t_max(self) -> float:
        return self.sigma_max

    def log_snr(self, t: Tensor) -> Tensor:
        return -2 * torch.log(t)

    def t(self, log_snr: Tensor) -> Tensor:
        return torch.exp(-log_snr / 2)

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), t

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(t), torch.ones_like(t)


@dataclass(frozen=True)
class Laplace(Schedule):
    """Log-SNR spread like a Laplace distribution, dense in the middle (Hang & Gu 2407.03297, Table 1).

    log_snr(t) = mean - scale * sign(1/2 - t) * log(1 - 2 |t - 1/2|), from exact data to exact noise.  Its rates have no
    limit at the two ends (nan there): a network that predicts velocity is not asked at them.
    A run by default goes from sigma / alpha = 84 to 0.012: the tails are long, and t = 0.999 would still show the picture.
    """

    mean: float = 0.0
    scale: float = 0.5
    t_min: float = 1e-8
    t_max: float = 1 - 1e-8
    scaling: ClassVar[str] = "preserving"

    def __post_init__(self) -> None:
        numbers(self, "mean", "scale", "t_min", "t_max")
        if not 0 < self.scale < math.inf or not math.isfinite(self.mean):
            raise ValueError(f"a finite mean and a scale above 0 expected, but got {self.mean} and {self.scale}")
        _check_t_min(self.t_min, self.t_max)
        if not self.t_max <= 1:
            raise ValueError(f"t_max at most 1 expected, but got {self.t_max}")

    def log_snr(self, t: Tensor) -> Tensor:
        depth = -torch.log(2 * torch.minimum(t, 1 - t))  # 0 in the middle, infinite at both ends
        return self.mean + self.scale * torch.where(t < 0.5, depth, -depth)

    def t(self, log_snr: Tensor) -> Tensor:
        centred = (log_snr - self.mean) / self.scale
        tail = 0.5 * torch.exp(-centred.abs())
        return torch.where(centred > 0, tail, 1 - tail)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        slope = -self.scale / torch.minimum(t, 1 - t)
        return rates_from_slope(self, t, slope)


def _check_t_min(t_min: float, t_max: float) -> None:
    if not 0 < t_min < t_max:
        raise ValueError(f"0 < t_min < t_max = {t_max:g} expected, but got t_min = {t_min}")
