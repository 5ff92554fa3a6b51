"""Has the model learned to draw, or learned by heart?  The training pictures that are nearest to its samples.

Distances are Euclidean, in pixels or in a feature space.  Two figures come of them:

    nearest ratio   mean distance of samples to their nearest training picture, over that of real pictures that were held
                    out (where none were: of training pictures to their nearest other): well below 1 the samples are
                    copies, about 1 they are as new as real pictures
    copies          share of the samples whose nearest training picture is less than a third as far as their second
                    nearest, or within one 128th of the range, root mean square: the same picture to the eye (so that
                    pictures which the training data hold twice do not hide a copy)

The training pictures are read in pieces: as many as there are, in the memory of a few hundred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisepath._lazy import torch
from noisepath.evaluation.pictures import read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from noisepath.data.dataset import Data
    from noisepath.evaluation.space import Space

    Embed = Callable[[Tensor], Tensor]

__all__ = ["COPY_RATIO", "Nearest", "nearest", "nearest_ratio"]

COPY_RATIO = 1 / 3
SAME = 2 / 128
"""Root-mean-square distance of values in [-1, 1] below which two pictures are the same to the eye."""


@dataclass(frozen=True)
class Nearest:
    """For each of n pictures its nearest and second nearest of a data set, nearest first."""

    index: NDArray[np.int64]
    """(n, 2): which they are; -1 where there is none."""
    distance: NDArray[np.float64]
    """(n, 2); infinite where there is none."""
    same: float = 0.0
    """Distance below which two pictures are the same to the eye; 0 in a feature space, where none is known."""

    @property
    def copied(self) -> NDArray[np.bool_]:
        """Which of the pictures count as copies, (n,)."""
        first, second = self.distance.T
        near: NDArray[np.bool_] = (first < COPY_RATIO * second) & np.isfinite(second) | (first <= self.same)
        return near


def nearest(
    pictures: Tensor, data: Data, space: Space | None = None, *, apart: Sequence[int] | None = None, size: int = 512
) -> Nearest:
    """The two pictures of ``data`` that are nearest to each of ``pictures`` (n, C, H, W).

    ``space`` is what the distance is taken in (pixels if not given).  With ``apart`` picture k is itself number
    ``apart[k]`` of the data, and is not its own neighbour.  Pictures of the data that can't be read are passed over.
    """
    embed = _embedding(space)
    here = embed(pictures)
    best = torch.full((len(here), 2), math.inf, dtype=torch.float64)
    which = torch.full((len(here), 2), -1)
    own = None if apart is None else torch.as_tensor(apart)[:, None]
    for start in range(0, len(data), size):
        try:
            x, _, found = read(data, range(start, min(start + size, len(data))))
        except ValueError:
            continue  # not one of these can be read
        numbers = torch.tensor(found)
        distances = torch.cdist(here, embed(x))
        if own is not None:
            distances = distances.masked_fill(numbers == own, math.inf)
        joined = torch.cat([best, distances], 1)
        indices = torch.cat([which, numbers.expand(len(here), -1)], 1)
        best, places = joined.topk(2, largest=False)
        which = indices.gather(1, places)
    which = torch.where(best.isinf(), -1, which)
    same = SAME * math.sqrt(pictures[0].numel()) if space is None else 0.0
    return Nearest(which.numpy(), best.numpy(), same)


def _embedding(space: Space | None) -> Embed:
    if space is None:
        return lambda pictures: pictures.flatten(1).double()
    return lambda pictures: torch.from_numpy(space(pictures))


def nearest_ratio(pictures: Tensor, real: Tensor, chunk: int = 1000) -> float:
    """Mean distance from ``pictures`` to their nearest in ``real``, over that from ``real`` to their nearest others."""
    flat, known = pictures.flatten(1).double(), real.flatten(1).double()
    new = torch.cat([torch.cdist(part, known).amin(1) for part in torch.split(flat, chunk)])
    old = torch.cat([torch.cdist(part, known).topk(2, largest=False).values[:, 1] for part in torch.split(known, chunk)])
    return float(new.mean() / old.mean())
