"""DiT (Peebles & Xie 2212.09748): a transformer ``f(x, t, label)`` whose tokens are squares of a noisy picture.

Each token is ``patch`` x ``patch`` pixels and knows its place by sines and cosines.  Time, class and what else is told are one
vector e, which sets scale, shift and gate of every block (adaLN-zero): with gates of 0 each block starts as the identity.
A text is looked at from each block (cross-attention, as in PixArt-alpha, 2310.00426), or its tokens join the picture's;
a picture that is told enters as more channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisepath.embedding import get_timestep_embedding
from noisepath.nn.attend import Attend, FeedForward
from noisepath.nn.blocks import beside, crop, pad, zero
from noisepath.nn.dit_config import DiTConfig
from noisepath.nn.dropout import Dropout
from noisepath.nn.linear import LinearPart, around
from noisepath.nn.parts import Needs
from noisepath.nn.told import Heard, Told, check_pictures, hear, reading, times_for

__all__ = ["DiT", "DiTBlock", "positions"]

TIME_FEATURES = 256
"""Sines and cosines of the time, as in the paper's code."""


@lru_cache(maxsize=16)
def positions(height: int, width: int, size: int) -> Tensor:
    """Sines and cosines of each place's row and column, (height * width, size), row by row; float32.

    A fourth of ``size`` each: sin and cos of the column, sin and cos of the row, at frequencies 10000^(-4 k / size).
    """
    frequencies = 10000.0 ** (-torch.arange(size // 4, dtype=torch.float64) / (size // 4))
    rows, columns = (torch.arange(n, dtype=torch.float64)[:, None] * frequencies for n in (height, width))
    across = torch.cat([columns.sin(), columns.cos()], 1).expand(height, width, -1)
    down = torch.cat([rows.sin(), rows.cos()], 1)[:, None].expand(height, width, -1)
    return torch.cat([across, down], -1).reshape(height * width, size).float()


def _norm(width: int) -> nn.LayerNorm:
    """Layer norm whose scale and shift come from elsewhere."""
    return nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)


class DiTBlock(nn.Module):
    """``x + gate * attention``, (``x + cross-attention``,) ``x + gate * feed forward``, of normed, scaled and shifted x."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0, cross: bool = False) -> None:
        super().__init__()
        self.norm_attend, self.norm_feed = _norm(width), _norm(width)
        self.attend, self.feed = Attend(width, heads), FeedForward(width)
        self.norm_cross = nn.LayerNorm(width) if cross else None
        self.cross = Attend(width, heads, width) if cross else None
        self.modulation = nn.Linear(width, 6 * width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, e: Tensor, heard: Heard, mask: Tensor | None = None) -> Tensor:
        """x: (B, N, W), e: (B, W), mask: (B, N), true where x says something -> same shape as x."""
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = self.modulation(e)[:, None].chunk(6, dim=-1)
        h = self.attend(self.norm_attend(x) * (1.0 + scale_a) + shift_a, mask=mask)
        x = x + gate_a * self.dropout(h)
        if self.cross is not None and self.norm_cross is not None:
            x = x + self.dropout(self.cross(self.norm_cross(x), heard.places, heard.mask))
        h = self.feed(self.norm_feed(x) * (1.0 + scale_f) + shift_f)
        out: Tensor = x + gate_f * self.dropout(h)
        return out


class DiT(nn.Module):
    """A diffusion transformer for pictures of any size; ``config`` holds every number of it.

    At initialisation every block is the identity and its output is exactly 0, or with ``config.spectrum`` that of the best
    linear denoiser, once ``linear.measure`` has been given pictures.
    """

    needs: Needs = "nothing"
    """What a call has to be given of the condition, since the network was never trained without it."""

    def __init__(self, config: DiTConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DiTConfig()
        width = config.width
        self.embed_time = nn.Sequential(nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        self.embed_label = nn.Embedding(config.classes + 1, width) if config.classes else None
        self.linear = LinearPart(config.in_channels, *config.spectrum) if config.spectrum else None
        told = Told(config.conditions, width, width) if config.conditions else None
        seen = config.in_channels * (2 if config.spectrum else 1) + (told.channels if told is not None else 0)
        cross = told is not None and told.has_places and config.text == "cross"
        self.enter = nn.Linear(seen * config.patch**2, width)
        self.blocks = nn.ModuleList(DiTBlock(width, config.heads, config.dropout, cross) for _ in range(config.depth))
        self.norm = _norm(width)
        self.modulation = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(width, config.out_channels * config.patch**2)
        self._initialise()
        self.told = told

    def _initialise(self) -> None:
        """The paper's: Xavier for linear layers, small normal draws for what makes e, 0 for all that ends in a sum."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for module in (*self.embed_time, self.embed_label):
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
        zero(self.modulation)
        zero(self.leave)
        for block in self.blocks:
            assert isinstance(block, DiTBlock)
            zero(block.modulation)
            if block.cross is not None:
                zero(block.cross.project)

    def reading(self) -> Callable[[Mapping[str, Tensor]], Mapping[str, Any]]:
        """For one run: what is said, with each text read once (:func:`noisepath.nn.told.reading`)."""
        return reading(self.told)

    def forward(self, x: Tensor, t: Tensor | float, label: Tensor | None = None, **said: Tensor) -> Tensor:
        """The prediction for noisy pictures.

        Args:
            x: (B, in_channels, H, W), any H and W >= 1.
            t: the time (times ``config.time_scale``, about 0 to 1000): (B,), or one number for all.
            label: (B,) int64 in 0 .. classes, where ``classes`` means "no class"; ``None``: no class for all.
            said: by name what else is told (``config.conditions``); what is left out says nothing.

        Returns:
            (B, out_channels, H, W).
        """
        check_pictures(x, self.config.in_channels, "DiT")
        t = times_for(x, t, "DiT")
        e, heard = self._embed(x, t, label, said)
        return around(self.linear, x, t, lambda seen: self._features(beside(seen, heard.channels), e, heard))

    def _embed(self, x: Tensor, t: Tensor, label: Tensor | None, said: Mapping[str, Tensor]) -> tuple[Tensor, Heard]:
        """e: (B, width), and what else was heard."""
        features = get_timestep_embedding(t * self.config.time_scale, TIME_FEATURES, downscale_freq_shift=0.0)
        e: Tensor = self.embed_time(features.to(x.dtype))
        heard = hear(self.embed_label, self.told, x, label, said, "DiT", self.needs)
        return F.silu(e if heard.vector is None else e + heard.vector), heard

    def _features(self, x: Tensor, e: Tensor, heard: Heard) -> Tensor:
        """What is learned of the pictures x, told e and what else was heard."""
        patch, (height, width) = self.config.patch, x.shape[-2:]
        squares = F.pixel_unshuffle(pad(x, patch), patch)
        rows, columns = squares.shape[-2:]
        tokens = self.enter(squares.flatten(2).mT)
        tokens = tokens + positions(rows, columns, self.config.width).to(tokens)
        tokens, mask = self._in_context(tokens, heard)
        for block in self.blocks:
            tokens = block(tokens, e, heard, mask)
        shift, scale = self.modulation(e)[:, None].chunk(2, dim=-1)
        out = self.leave(self.norm(tokens[:, -rows * columns :]) * (1.0 + scale) + shift)
        return crop(F.pixel_shuffle(out.mT.reshape(len(x), -1, rows, columns), patch), height, width)

    def _in_context(self, tokens: Tensor, heard: Heard) -> tuple[Tensor, Tensor | None]:
        """The text's tokens before the picture's, and which of all say something; where texts are heard so."""
        if self.config.text != "context" or heard.places is None or heard.mask is None:
            return tokens, None
        return torch.cat([heard.places.to(tokens), tokens], 1), F.pad(heard.mask, (0, tokens.shape[1]), value=True)
