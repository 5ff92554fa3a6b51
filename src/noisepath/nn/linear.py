"""The best linear denoiser, as the part of a network that need not be learned.

Pictures have most of their power at low spatial frequencies.  For x = x_0 + s z (variance exploding), whose x_0 has the power
S_f at the frequency f of the cosine transform, the least squared error that a linear map can reach has Wiener's filter:

    D_f = S_f / (S_f + s^2) x_f          error_f = S_f s^2 / (S_f + s^2)

EDM's preconditioning (Karras et al. 2206.00364, table 1) starts a network at the same formula with one number, the data's
variance d^2, for all frequencies.  What the filter does better is, in the units of EDM's output,

    first_f = (S_f - d^2) s / (d (S_f + s^2)) (c_in x)_f

and the network is left with what no filter can do, as large as the filter's error: ``gain`` is that over EDM's.  On photographs
of 32 x 32 pixels the filter's error is a fourth of EDM's start at s = 0.15, and to learn that much takes a network long.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisepath.data_stats import cosine_power, cosines

__all__ = ["LinearPart", "around"]

# c_noise at pure noise is infinite; from here on nothing changes in float32 any more.
NOISIEST = 1e4


class LinearPart(nn.Module):
    """What a linear denoiser says of a picture, for networks with EDM's preconditioning.

    The power is measured on pictures of one size; others have it interpolated over relative frequency.
    """

    colours: Tensor
    power: Tensor
    sigma_data: Tensor

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.register_buffer("colours", torch.eye(channels))
        self.register_buffer("power", torch.ones(channels, height, width))
        self.register_buffer("sigma_data", torch.ones(()))

    def measure(self, pictures: Tensor, sigma_data: float) -> None:
        """Take the spectrum of pictures (B, C, H, W), in units of ``sigma_data``, the d of EDM's preconditioning."""
        self.sigma_data.fill_(sigma_data)
        colours, power = cosine_power(pictures)
        self.colours.copy_(colours)
        self.power.copy_(power.clamp(min=1e-8) / sigma_data**2)

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x: (B, C, H, W) as a network sees it, c_in x; t: (B,), EDM's c_noise, log(sigma / alpha) / 4.

        Returns:
            the filter's part of EDM's output and the noise that the filter sees in x, both (B, C, H, W), and the size of what
            is left to the network, (B, 1, 1, 1); in no less than float32.
        """
        with torch.autocast(x.device.type, enabled=False):
            exact = torch.promote_types(x.dtype, torch.float32)
            x, t = x.to(exact), t.to(exact)
            high, wide = (cosines(size).to(x.dtype).to(x.device) for size in x.shape[-2:])
            power, colours = self._power(x.shape[-2], x.shape[-1]).to(exact), self.colours.to(exact)
            s = (torch.exp(4.0 * t) / self.sigma_data).clamp(max=NOISIEST).view(-1, 1, 1, 1)  # in units of d
            seen = high @ torch.einsum("dc,bchw->bdhw", colours, x) @ wide.T
            share = seen / (power + s * s)
            both = torch.cat([(power - 1.0) * s * share, s * torch.sqrt(1.0 + s * s) * share])
            back = torch.einsum("dc,bdhw->bchw", colours, high.T @ both @ wide)
            left = (power / (power + s * s)).mean((1, 2, 3), keepdim=True)
            return back[: len(x)], back[len(x) :], torch.sqrt(left * (1.0 + s * s))

    def _power(self, height: int, width: int) -> Tensor:
        if self.power.shape[-2:] == (height, width):
            return self.power
        return F.interpolate(self.power[None], size=(height, width), mode="bilinear", align_corners=False)[0]


def around(linear: LinearPart | None, x: Tensor, t: Tensor, learned: Callable[[Tensor], Tensor]) -> Tensor:
    """What a network gives for x: what it has learned, around what the linear part knows where it has one.

    ``learned`` is given x, and beside it in further channels the noise that the linear part sees in x.
    """
    if linear is None:
        return learned(x)
    first, noise, size = linear(x, t)
    out: Tensor = (first + size * learned(torch.cat([x, noise.to(x.dtype)], dim=1))).to(x.dtype)
    return out
