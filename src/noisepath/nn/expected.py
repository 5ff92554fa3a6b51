"""The picture that texts make one expect: E[x_0 | text], which is all that a denoiser can say at pure noise.

The mean of the pictures that a text may mean is coarse, and a function of the text alone.  So a small part over 8 x 8 places
can learn it before a network learns to draw (:mod:`noisepath.training.texts_first`), and tells it what may be where.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisepath.nn.attend import Attend, FeedForward, heads_for
from noisepath.nn.blocks import waves, zero

__all__ = ["SIDE", "Expected"]

PLACES, VALUES = 8, 4
"""Places along each axis of the picture, and values along each axis of a place."""
SIDE = PLACES * VALUES
WAVES = 4
"""Of each axis, that tell a place where it is."""


class Expected(nn.Module):
    """The mean picture, from what is told: each place looks at it once, and says its part.

    Args:
        told: width of what is looked at.
        width: of the features of a place.
        channels: of the picture.
    """

    def __init__(self, told: int, width: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Parameter(0.02 * torch.randn(PLACES**2, width))
        self.where = nn.Linear(2 * WAVES, width)
        self.norm_told = nn.LayerNorm(told)
        self.norm_attend, self.norm_feed, self.norm_leave = (nn.LayerNorm(width) for _ in range(3))
        self.attend, self.feed = Attend(width, heads_for(width, 32), told), FeedForward(width)
        self.leave = zero(nn.Linear(width, channels * VALUES**2))

    def forward(self, told: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """told: (B, M, told), mask: (B, M), true where there is something.

        Returns:
            Features of the places, (B, width, 8, 8), and the picture, (B, channels, 32, 32), whatever the size of those that
            it stands for.
        """
        at = waves(told.new_zeros(1, 1, PLACES, PLACES), WAVES)
        assert at is not None, "there are some waves"
        x = (self.first + self.where(at.flatten(2).mT)).expand(len(told), -1, -1)
        x = x + self.attend(self.norm_attend(x), self.norm_told(told), mask)
        x = self.norm_leave(x + self.feed(self.norm_feed(x)))
        features, said = (y.mT.reshape(len(told), -1, PLACES, PLACES) for y in (x, self.leave(x)))
        return features, F.pixel_shuffle(said, VALUES)
