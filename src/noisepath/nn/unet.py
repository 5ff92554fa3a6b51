"""The U-Net: a network ``f(x, t, label)`` that looks at a noisy picture x at several sizes.

Down: at each level some residual blocks (with attention at the levels chosen), whose outputs are kept; then half the
size.  Middle: block, attention, block.  Up: the same levels in reverse, each block given the output kept by its
counterpart.  Time, class and what else is told reach every block as one vector e, by scale and
shift; a text also by cross-attention, wherever there is attention, and a picture as more channels of the one that enters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisepath.embedding import get_timestep_embedding
from noisepath.nn.blocks import (
    Attention,
    CrossAttention,
    Downsample,
    Enter,
    Leave,
    ResidualBlock,
    Upsample,
    beside,
    crop,
    pad,
    waves,
)  # fmt: skip
from noisepath.nn.config import UNetConfig
from noisepath.nn.expected import Expected
from noisepath.nn.linear import LinearPart, around
from noisepath.nn.parts import Needs
from noisepath.nn.told import Heard, Told, check_pictures, hear, reading, times_for

__all__ = ["UNet"]


class _Stage(nn.Module):
    """A residual block, and attention after it where the level has it: to the picture itself, then to what is told."""

    def __init__(self, inputs: int, outputs: int, config: UNetConfig, attention: bool, told: int | None) -> None:
        super().__init__()
        self.block = ResidualBlock(inputs, outputs, config.embedding, config.groups, config.dropout)
        own = config.head_channels, config.groups, config.positions
        self.attention = Attention(outputs, *own) if attention else nn.Identity()
        self.cross = CrossAttention(outputs, told, *own) if attention and told else None

    def forward(self, x: Tensor, e: Tensor, heard: Heard) -> Tensor:
        out: Tensor = self.attention(self.block(x, e))
        if self.cross is not None and heard.places is not None:
            out = self.cross(out, heard.places, heard.mask)
        return out


class UNet(nn.Module):
    """A U-Net for pictures of any size; ``config`` holds every number of it.

    At initialisation every residual block is the identity and its output is exactly 0, or with ``config.spectrum`` that of
    the best linear denoiser, once ``linear.measure`` has been given pictures.
    """

    needs: Needs = "nothing"
    """What a call has to be given of the condition, since the network was never trained without it."""

    def __init__(self, config: UNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or UNetConfig()
        widths, blocks, levels = config.channels, config.blocks, len(config.channels)
        has = [level in config.attention for level in range(levels)]
        self.embed_time = nn.Sequential(
            nn.Linear(config.embedding, config.embedding), nn.SiLU(), nn.Linear(config.embedding, config.embedding)
        )
        self.embed_label = nn.Embedding(config.classes + 1, config.embedding) if config.classes else None
        self.linear = LinearPart(config.in_channels, *config.spectrum) if config.spectrum else None
        self.told = Told(config.conditions, config.embedding, config.embedding) if config.conditions else None
        places = config.embedding if self.told is not None and self.told.has_places else None
        seen = config.in_channels * (2 if config.spectrum else 1) + (self.told.channels if self.told is not None else 0)
        seen += 2 * config.positions
        self.expected = Expected(places, config.expects, config.out_channels) if places and config.expects else None
        self.tell = nn.Conv2d(config.expects, widths[0], 1) if self.expected is not None else None
        seen += config.out_channels if self.expected is not None else 0
        self.enter = Enter(seen, widths[0], config.fold)
        self.down = nn.ModuleList(
            nn.ModuleList(_Stage(width, width, config, has[level], places) for _ in range(blocks))
            for level, width in enumerate(widths)
        )
        self.shrink = nn.ModuleList(Downsample(a, b) for a, b in pairwise(widths))
        self.middle = nn.ModuleList(_Stage(widths[-1], widths[-1], config, own, places) for own in (True, False))
        self.up = nn.ModuleList(
            nn.ModuleList(_Stage(2 * width, width, config, has[level], places) for _ in range(blocks))
            for level, width in enumerate(widths)
        )
        self.grow = nn.ModuleList(Upsample(b, a) for a, b in pairwise(widths))
        self.leave = Leave(widths[0], config.out_channels, config.embedding, config.groups, config.fold, seen)

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
        check_pictures(x, self.config.in_channels, "U-Net")
        t = times_for(x, t, "U-Net")
        e, heard = self._embed(x, t, label, said)
        return around(self.linear, x, t, lambda seen: self._features(beside(seen, heard.channels), e, heard))

    def mean_image(self, x: Tensor, label: Tensor | None = None, **said: Tensor) -> Tensor | None:
        """The mean of the clean images given the condition, of the shape and in the units of x, (B, C, H, W), where the network
        has a part that knows it (``config.expects``); else None."""
        if self.expected is None:
            return None
        heard = hear(self.embed_label, self.told, x, label, said, "U-Net", self.needs)
        return self._expect(heard, x.shape[-2], x.shape[-1])[1]

    def _features(self, x: Tensor, e: Tensor, heard: Heard) -> Tensor:
        """Down, middle and up: what is learned of the pictures x, told e and what else was heard."""
        height, width = x.shape[-2:]
        x = beside(x, waves(x, self.config.positions))
        features, picture = self._expect(heard, height, width)
        seen = pad(beside(x, picture), self.config.fold * 2 ** len(self.shrink))
        x = _ordered(self.enter(seen))
        if self.tell is not None and features is not None:
            x = x + F.interpolate(self.tell(features), x.shape[-2:])
        kept: list[Tensor] = []
        for level in range(len(self.down)):
            x = self.shrink[level - 1](x) if level else x
            for stage in _stages(self.down[level]):
                x = stage(x, e, heard)
                kept.append(x)
        for stage in self.middle:
            x = stage(x, e, heard)
        for level in reversed(range(len(self.up))):
            for stage in _stages(self.up[level]):
                x = stage(torch.cat([x, kept.pop()], dim=1), e, heard)
            x = self.grow[level - 1](x) if level else x
        out: Tensor = self.leave(x, seen, e)
        return crop(out, height, width)

    def _expect(self, heard: Heard, height: int, width: int) -> tuple[Tensor | None, Tensor | None]:
        """Features and picture of what is expected, the picture in this size."""
        if self.expected is None or heard.places is None:
            return None, None
        features, picture = self.expected(heard.places, heard.mask)
        if picture.shape[-2:] != (height, width):
            picture = F.interpolate(picture, (height, width), mode="bilinear", align_corners=False)
        return features, picture

    def _embed(self, x: Tensor, t: Tensor, label: Tensor | None, said: Mapping[str, Tensor]) -> tuple[Tensor, Heard]:
        """e: (B, embedding), and what else was heard."""
        features = get_timestep_embedding(t * self.config.time_scale, self.config.embedding)
        e: Tensor = self.embed_time(features.to(x.dtype))
        heard = hear(self.embed_label, self.told, x, label, said, "U-Net", self.needs)
        return F.silu(e if heard.vector is None else e + heard.vector), heard


def _stages(level: nn.Module) -> Iterator[nn.Module]:
    """The blocks of one level."""
    return level.children()


def _ordered(x: Tensor) -> Tensor:
    """Channels last in memory where convolutions on a CPU are faster so: in float32 a quarter at 32 x 32 places and 64
    channels, a few percent at 16 x 16, nothing below.  In bfloat16 torch's group norm takes 30 times as long then, and a step
    a fifth."""
    large = x.device.type == "cpu" and x.dtype == torch.float32 and x.shape[-2] * x.shape[-1] >= 256
    return x.contiguous(memory_format=torch.channels_last) if large else x
