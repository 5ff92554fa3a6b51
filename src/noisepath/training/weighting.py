"""How much each noise level counts in the loss: weights on the squared error of the clean picture x_0.

A network's squared error in its own terms and that of its denoiser differ by a factor, ``|D - x_0|^2 = c_out^2
|F - F*|^2``.  So a weighting written for x_0 as a function of the log-SNR l (with snr = exp(l) and d = sigma_data) holds
for every kind of prediction:

    snr        snr                        the noise's squared error (DDPM)       Ho et al. 2006.11239, eq. 14
    min_snr    min(snr, gamma)            the same, bounded near the data        Hang et al. 2303.09556, eq. 8
    edm        snr + 1 / d^2              EDM's lambda(sigma)                    Karras et al. 2206.00364, Table 1
    sigmoid    snr sigmoid(bias - l)      less where there is little noise       Hoogeboom et al. 2410.19324, eq. 3
    plain      1 / c_out^2                the network's own squared error, unweighted

"plain" is the prediction's own: the same as "snr" for noise, "edm" for edm.  Weights are taken in logarithms, so that they
stay finite where the SNR itself is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from noisepath._lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["WEIGHTINGS", "Weighting"]

Weighting = Callable[..., "Tensor | None"]
"""``weighting(log_snr, sigma_data=...)`` -> log of the weight on |D - x_0|^2, float64; None: 1 on the network's error."""


def _plain(log_snr: Tensor, *, sigma_data: float) -> None:
    return None


def _snr(log_snr: Tensor, *, sigma_data: float) -> Tensor:
    return log_snr


def _min_snr(log_snr: Tensor, *, sigma_data: float, gamma: float = 5.0) -> Tensor:
    return log_snr.clamp(max=float(torch.log(torch.tensor(gamma, dtype=torch.float64))))


def _edm(log_snr: Tensor, *, sigma_data: float) -> Tensor:
    return torch.logaddexp(log_snr, -2 * torch.log(torch.tensor(sigma_data, dtype=torch.float64)))


def _sigmoid(log_snr: Tensor, *, sigma_data: float, bias: float = 0.0) -> Tensor:
    return log_snr + torch.nn.functional.logsigmoid(bias - log_snr)


WEIGHTINGS: dict[str, Weighting] = {
    "plain": _plain,
    "snr": _snr,
    "min_snr": _min_snr,
    "edm": _edm,
    "sigmoid": _sigmoid,
}
