"""The U-Net's parts.  x: (B, C, H, W) is a picture of features, e: (B, E) the vector that carries time and class.

A residual block or attention layer starts as the identity (its last weights are 0): at initialisation a network of any
depth passes its input on unchanged, and depth is learned.  (Where the width changes, "the identity" is the 1x1
convolution that changes it.)
"""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisepath.nn.attend import Attend, heads_for
from noisepath.nn.dropout import Dropout

__all__ = [
    "Attention", "CrossAttention", "Downsample", "Enter", "Leave", "Modulated", "ResidualBlock", "Upsample", "beside", "crop",
    "group_norm", "pad", "waves", "zero",
]  # fmt: skip

M = TypeVar("M", bound=nn.Module)


def zero(module: M) -> M:
    """Set a module's parameters to 0 and return it."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    return module


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    """Group norm for any number of channels: the largest group count up to ``groups`` that divides it."""
    count = next(n for n in range(min(groups, channels), 0, -1) if channels % n == 0)
    return nn.GroupNorm(count, channels)


class Enter(nn.Module):
    """Into the network: squares of ``fold`` x ``fold`` pixels become channels of one place, then a 3x3 convolution."""

    def __init__(self, inputs: int, outputs: int, fold: int) -> None:
        super().__init__()
        self.fold = fold
        self.conv = nn.Conv2d(inputs * fold**2, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, inputs, H, W), both multiples of fold -> (B, outputs, H / fold, W / fold)."""
        out: Tensor = self.conv(F.pixel_unshuffle(x, self.fold) if self.fold > 1 else x)
        return out


class Leave(nn.Module):
    """Out of the network: norm, SiLU, 3x3 convolution; a folded picture is unfolded to some channels first.

    Places that were folded are each computed for themselves, which would show as a grid: so two convolutions run over the
    pixels, and look at the picture that entered beside what the network says.  Between them e sets scale and shift: how much
    of the finest detail is noise depends on the noise level, and no coarser layer sees that detail.
    """

    def __init__(
        self, inputs: int, outputs: int, embedding: int, groups: int, fold: int, seen: int, unfolded: int = 8, wide: int = 24
    ) -> None:
        super().__init__()
        self.fold = fold
        self.norm = group_norm(inputs, groups)
        if fold > 1:
            self.unfold = nn.Conv2d(inputs, unfolded * fold**2, 3, padding=1)
            self.mix = nn.Conv2d(unfolded + seen, wide, 3, padding=1)
            self.modulated = Modulated(wide, embedding, 8)
        self.conv = zero(nn.Conv2d(wide if fold > 1 else inputs, outputs, 3, padding=1))

    def forward(self, h: Tensor, x: Tensor, e: Tensor) -> Tensor:
        """h: (B, inputs, H / fold, W / fold), x: (B, seen, H, W), what entered, e: (B, embedding) -> (B, outputs, H, W)."""
        h = F.silu(self.norm(h))
        if self.fold > 1:
            h = torch.cat([F.silu(F.pixel_shuffle(self.unfold(h), self.fold)), x], dim=1)
            h = F.silu(self.modulated(self.mix(h), e))
        out: Tensor = self.conv(h)
        return out


class Modulated(nn.Module):
    """Group norm, then scale and shift by e."""

    def __init__(self, channels: int, embedding: int, groups: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, groups)
        self.modulation = nn.Linear(embedding, 2 * channels)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """x: (B, channels, H, W), e: (B, embedding) -> same shape as x."""
        scale, shift = self.modulation(e)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, self.norm(x), 1.0 + scale)


class ResidualBlock(nn.Module):
    """``x + f(x, e)``: norm, SiLU, 3x3 convolution; norm, scale and shift by e, SiLU, dropout, 3x3 convolution."""

    def __init__(self, inputs: int, outputs: int, embedding: int, groups: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm_in = group_norm(inputs, groups)
        self.conv_in = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulated = Modulated(outputs, embedding, groups)
        self.dropout = Dropout(dropout)
        self.conv_out = zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """x: (B, inputs, H, W), e: (B, embedding) -> (B, outputs, H, W)."""
        h = self.modulated(self.conv_in(F.silu(self.norm_in(x))), e)
        h = self.conv_out(self.dropout(F.silu(h)))
        out: Tensor = self.skip(x) + h
        return out


def place_of(positions: int, channels: int) -> nn.Linear | None:
    """What attention makes of where a place is, by so many waves along each axis; None of none."""
    return nn.Linear(2 * positions, channels) if positions else None


def placed(x: Tensor, where: nn.Linear | None) -> Tensor:
    """The places of x (B, C, H, W) for attention, (B, H * W, C), each told where it is.

    So a query can ask for "left" before convolutions have learned to carry the edges' news inwards: a text that speaks of
    places is heard sooner.
    """
    places = x.flatten(2).mT
    at = None if where is None else waves(x[:1], where.in_features // 2)
    return places if where is None or at is None else places + where(at.flatten(2).mT)


class Attention(nn.Module):
    """``x + attention(x)``: multi-head self-attention over the H * W places; ``positions`` waves tell each where it is."""

    def __init__(self, channels: int, head_channels: int, groups: int, positions: int = 0) -> None:
        super().__init__()
        self.heads = heads_for(channels, head_channels)
        self.norm = group_norm(channels, groups)
        self.where = place_of(positions, channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, H, W) -> same shape."""
        b, c, h, w = x.shape
        places = placed(self.norm(x), self.where)
        q, k, v = self.qkv(places).view(b, h * w, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, h * w, c)
        out: Tensor = x + self.project(mixed).mT.reshape(b, c, h, w)
        return out


class CrossAttention(nn.Module):
    """``x + attention(x to what is told)``: each of the H * W places looks at the places of a text."""

    def __init__(self, channels: int, told: int, head_channels: int, groups: int, positions: int = 0) -> None:
        super().__init__()
        self.norm = group_norm(channels, groups)
        self.where = place_of(positions, channels)
        self.attend = Attend(channels, heads_for(channels, head_channels), told)
        zero(self.attend.project)

    def forward(self, x: Tensor, places: Tensor, mask: Tensor) -> Tensor:
        """x: (B, C, H, W), places: (B, M, told), mask: (B, M) -> same shape as x."""
        mixed = self.attend(placed(self.norm(x), self.where), places, mask)
        out: Tensor = x + mixed.mT.reshape(x.shape)
        return out


class Downsample(nn.Module):
    """Half height and width by a 3x3 convolution of stride 2, to another number of channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, inputs, H, W), both even -> (B, outputs, H / 2, W / 2)."""
        out: Tensor = self.conv(x)
        return out


class Upsample(nn.Module):
    """Twice height and width: a 1x1 convolution at the small size, each place then repeated 2x2.

    The residual blocks that follow have the 3x3 convolutions; one more at the large size costs much and adds little.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, inputs, H, W) -> (B, outputs, 2 H, 2 W)."""
        return F.interpolate(self.conv(x), scale_factor=2.0, mode="nearest")


def pad(x: Tensor, multiple: int) -> Tensor:
    """Repeat the border on all sides until height and width are multiples of ``multiple``."""
    height, width = (-size % multiple for size in x.shape[-2:])
    if not (height or width):
        return x
    return F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2), mode="replicate")


def crop(x: Tensor, height: int, width: int) -> Tensor:
    """Undo :func:`pad`."""
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return x[..., top : top + height, left : left + width]


def waves(x: Tensor, count: int) -> Tensor | None:
    """Where each pixel of x (B, C, H, W) is, from edge to edge whatever the size: cos(pi k u), k = 1 .. count, of its height u
    in (0, 1) and of its width, as (B, 2 count, H, W); None of none."""
    if not count:
        return None
    k = torch.pi * torch.arange(1, count + 1, device=x.device, dtype=torch.float32).view(-1, 1)
    height, width = x.shape[-2:]
    down, across = (torch.cos(k * (torch.arange(n, device=x.device) + 0.5) / n) for n in (height, width))
    both = torch.cat([down[:, :, None].expand(-1, -1, width), across[:, None, :].expand(-1, height, -1)])
    return both.to(x.dtype).expand(len(x), -1, -1, -1)


def beside(x: Tensor, channels: Tensor | None) -> Tensor:
    """A picture and more channels of it, where there are some."""
    return x if channels is None else torch.cat([x, channels], dim=1)
