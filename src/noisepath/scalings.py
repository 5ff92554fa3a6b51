"""How a log-SNR is split into alpha and sigma: the *frame* of a path.

Levels of one log-SNR hold the same information and differ by a scale alone.  With l = log_snr and ``k = exp(-l / 2)``
(EDM's sigma), the frames are

    preserving   alpha^2 + sigma^2 = 1          alpha = sqrt(sigmoid(l)),  sigma = sqrt(sigmoid(-l))      DDPM, VP
    exploding    alpha = 1                      sigma = k                                                 VE, EDM
    flow         alpha + sigma = 1              alpha = sigmoid(l / 2),  sigma = sigmoid(-l / 2)          rectified flow
    sub_vp       alpha^2 + sigma = 1            alpha = 2 / (k + sqrt(k^2 + 4))                           sub-VP

``shifted_rates`` says how (alpha', sigma') change where sigma / alpha is multiplied by a factor, by the frame's own identity
between the two rates (alpha alpha' = -sigma sigma' and its like), which leaves no product of 0 and infinity at an end.  A frame
of your own may leave it out: then they follow from ``alpha_sigma`` and ``velocity_skip``.

``velocity_skip`` is c_skip of a network that predicts dx/dt (:mod:`noisepath.denoiser`): ``sigma' / w`` with
``w = alpha sigma' - alpha' sigma``.  It depends on the frame alone, not on the clock, and is finite at both ends.
All functions take and give float64 tensors of any shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SCALINGS", "Scaling"]

ShiftedRates = Callable[["Tensor", "Tensor", "Tensor", "Tensor", float], "tuple[Tensor, Tensor]"]


@dataclass(frozen=True)
class Scaling:
    """``alpha_sigma(log_snr) -> (alpha, sigma)``, ``velocity_skip(alpha, sigma)`` and, if there is one,
    ``shifted_rates(alpha, sigma, alpha_rate, sigma_rate, factor) -> (alpha_rate, sigma_rate)`` of the same time."""

    alpha_sigma: Callable[[Tensor], tuple[Tensor, Tensor]]
    velocity_skip: Callable[[Tensor, Tensor], Tensor]
    shifted_rates: ShiftedRates | None = None


def _preserving(log_snr: Tensor) -> tuple[Tensor, Tensor]:
    return torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt()


def _exploding(log_snr: Tensor) -> tuple[Tensor, Tensor]:
    return torch.ones_like(log_snr), torch.exp(-log_snr / 2)


def _flow(log_snr: Tensor) -> tuple[Tensor, Tensor]:
    return torch.sigmoid(log_snr / 2), torch.sigmoid(-log_snr / 2)


def _sub_vp(log_snr: Tensor) -> tuple[Tensor, Tensor]:
    ratio = torch.exp(-log_snr / 2)
    alpha = 2 / (ratio + torch.hypot(ratio, torch.full_like(ratio, 2.0)))
    # alpha * ratio does not cancel near the data; 1 - alpha^2 has a value at the noisy end
    return alpha, torch.where(ratio < 1, alpha * ratio, 1 - alpha**2)


def _shifted_preserving(
    alpha: Tensor, sigma: Tensor, alpha_rate: Tensor, sigma_rate: Tensor, factor: float
) -> tuple[Tensor, Tensor]:
    stretch = factor / (alpha**2 + (factor * sigma) ** 2) ** 1.5
    return factor * stretch * alpha_rate, stretch * sigma_rate


def _shifted_exploding(
    alpha: Tensor, sigma: Tensor, alpha_rate: Tensor, sigma_rate: Tensor, factor: float
) -> tuple[Tensor, Tensor]:
    return alpha_rate, factor * sigma_rate


def _shifted_flow(
    alpha: Tensor, sigma: Tensor, alpha_rate: Tensor, sigma_rate: Tensor, factor: float
) -> tuple[Tensor, Tensor]:
    stretch = factor / (alpha + factor * sigma) ** 2
    return stretch * alpha_rate, stretch * sigma_rate


def _shifted_sub_vp(
    alpha: Tensor, sigma: Tensor, alpha_rate: Tensor, sigma_rate: Tensor, factor: float
) -> tuple[Tensor, Tensor]:
    moved, _ = _sub_vp(2 * (torch.log(alpha) - torch.log(sigma)) - 2 * math.log(factor))
    moved_rate = factor * (moved / alpha) ** 2 * (1 + alpha**2) / (1 + moved**2) * alpha_rate
    return moved_rate, -2 * moved * moved_rate


SCALINGS: dict[str, Scaling] = {
    "preserving": Scaling(_preserving, lambda alpha, sigma: alpha / (alpha**2 + sigma**2), _shifted_preserving),
    "exploding": Scaling(_exploding, lambda alpha, sigma: 1 / alpha, _shifted_exploding),
    "flow": Scaling(_flow, lambda alpha, sigma: 1 / (alpha + sigma), _shifted_flow),
    "sub_vp": Scaling(_sub_vp, lambda alpha, sigma: 2 * alpha / (1 + alpha**2), _shifted_sub_vp),
}
