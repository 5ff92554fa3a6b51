"""Attention from some places to others, and a text encoder made of it.  x: (B, N, W)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisepath.embedding import get_timestep_embedding

__all__ = ["Attend", "FeedForward", "TextEncoder", "heads_for"]


def heads_for(width: int, head_channels: int) -> int:
    """How many heads of about so many channels a width is cut into."""
    return next(n for n in range(max(1, width // head_channels), 0, -1) if width % n == 0)


class Attend(nn.Module):
    """Multi-head attention of x to ``others`` (to itself where there are none); places that are masked are not looked at."""

    def __init__(self, width: int, heads: int, others: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.keys_values = nn.Linear(width if others is None else others, 2 * width)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor, others: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """x: (B, N, W), others: (B, M, V), mask: (B, M), true where there is something to look at -> (B, N, W)."""
        others = x if others is None else others
        b, n, w = x.shape
        q = self.query(x).view(b, n, self.heads, -1).transpose(1, 2)
        k, v = self.keys_values(others).view(b, others.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = None if mask is None else mask[:, None, None, :]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        out: Tensor = self.project(mixed.transpose(1, 2).reshape(b, n, w))
        return out


class FeedForward(nn.Sequential):
    """Each place by itself: four times as wide, GELU, and back."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))


class _Layer(nn.Module):
    """``x + attention``, ``x + feed forward``, each of a normed x (pre-norm: trains without warm-up tricks)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_attend, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.feed = Attend(width, heads), FeedForward(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attend(self.norm_attend(x), mask=mask)
        out: Tensor = x + self.feed(self.norm_feed(x))
        return out


class TextEncoder(nn.Module):
    """Tokens (B, L), 0 where there are none -> features (B, L + 1, width) and which of them say something (B, L + 1).

    A learned token stands first and is never masked: so an empty text has a meaning of its own, and the first feature speaks
    for the whole.
    """

    def __init__(self, tokens: int, length: int, width: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens + 1, width, padding_idx=0)
        self.first = nn.Parameter(0.02 * torch.randn(width))
        # as large as the words', so that the order of words is heard from the first step on
        self.places = nn.Parameter(get_timestep_embedding(torch.arange(length + 1.0), width))
        self.layers = nn.ModuleList(_Layer(width, heads_for(width, 32)) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """The features, and the mask."""
        first = self.first.expand(len(tokens), 1, -1)
        x = torch.cat([first, self.embed(tokens)], dim=1) + self.places
        mask = F.pad(tokens != 0, (1, 0), value=True)
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x), mask
