"""How a log-SNR is split into alpha and sigma: the *frame* of a path.

Levels of one log-SNR hold the same information and differ by a scale alone.  With l = log_snr and ``k = exp(-l / 2)``
(EDM's sigma), the frames are

    preserving   alpha^2 + sigma^2 = 1          alpha = sqrt(sigmoid(l)),  sigma = sqrt(sigmoid(-l))      DDPM, VP
    exploding    alpha = 1                      sigma = k                                                 VE, EDM
    flow         alpha + sigma = 1              alpha = sigmoid(l / 2),  sigma = sigmoid(-l / 2)          rectified flow
    sub_vp       alpha^2 + sigma = 1            alpha = 2 / (k + sqrt(k^2 + 4))                           sub-VP

``velocity_skip`` is c_skip of a network that predicts dx/dt (:mod:`noisepath.denoiser`): ``sigma' / w`` with
``w = alpha sigma' - alpha' sigma``.  It depends on the frame alone, not on the clock, and is finite at both ends.
All functions take and give float64 tensors of any shape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SCALINGS", "Scaling"]


@dataclass(frozen=True)
class Scaling:
    """``alpha_sigma(log_snr) -> (alpha, sigma)`` and ``velocity_skip(alpha, sigma)``."""

    alpha_sigma: Callable[[Tensor], tuple[Tensor, Tensor]]
    velocity_skip: Callable[[Tensor, Tensor], Tensor]


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


SCALINGS: dict[str, Scaling] = {
    "preserving": Scaling(_preserving, lambda alpha, sigma: alpha / (alpha**2 + sigma**2)),
    "exploding": Scaling(_exploding, lambda alpha, sigma: 1 / alpha),
    "flow": Scaling(_flow, lambda alpha, sigma: 1 / (alpha + sigma)),
    "sub_vp": Scaling(_sub_vp, lambda alpha, sigma: 2 * alpha / (1 + alpha**2)),
}
