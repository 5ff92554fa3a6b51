"""The real pictures of an evaluation, and what they get themselves: the standard that samples are held to.

    reference   the held-out pictures (where there are none: the training pictures, which flatters a model that copies)
    stand-in    as many training pictures as there are samples, held against the same reference; without held-out pictures
                one half of the reference, held against the other.  A model that gave back its training pictures would get
                their figures, copies included; one that draws new pictures can be as good

All of it is worked out once, however many sets of samples are judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from noisepath.evaluation import distances
from noisepath.evaluation.distances import Interval
from noisepath.evaluation.neighbours import Nearest, nearest
from noisepath.evaluation.pictures import chosen, content_hash, read

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from noisepath.data.dataset import Data
    from noisepath.evaluation.space import Space

    Rows = NDArray[np.float64]

__all__ = ["BALL", "Measured", "Real", "Standard", "gather", "share", "standard", "too_few"]

MOST_REFERENCE = 10_000
MOST_NEIGHBOURS = 1000
BALL = 3
"""Nearest neighbours that the balls of precision and recall reach to."""


@dataclass(frozen=True)
class Real:
    """The real pictures: those to hold samples against, and others to hold against the same."""

    train: Data
    held_out: Data | None
    reference: Tensor
    reference_labels: Tensor | None
    reference_hash: str
    stand_in: Tensor
    against: Tensor
    """What the stand-in is held against: the reference, or its other half."""

    @property
    def kind(self) -> str:
        """Where the reference is from."""
        return "training" if self.held_out is None else "held-out"


def gather(train: Data, held_out: Data | None, n: int, seed: int = 0) -> Real:
    """The real pictures that n samples are judged by."""
    if held_out is not None and not len(held_out):
        held_out = None
    source = train if held_out is None else held_out
    reference, labels, _ = read(source, chosen(len(source), MOST_REFERENCE, seed, "reference"))
    if held_out is None:
        order = np.random.default_rng(0).permutation(len(reference))
        stand_in, against = reference[np.sort(order[::2])], reference[np.sort(order[1::2])]
    else:
        stand_in, against = read(train, chosen(len(train), n, seed, "stand in"))[0], reference
    return Real(train, held_out, reference, labels, content_hash(reference), stand_in, against)


@dataclass(frozen=True)
class Measured:
    """One figure of real pictures; ``draws`` are its redrawn values, where it has any."""

    value: float
    interval: Interval | None
    draws: Any = None


@dataclass(frozen=True)
class Standard:
    """What real pictures get in one feature space; a figure that they are too few for is left out."""

    space: Space
    reference: Rows
    figures: dict[str, Measured]
    near: Nearest
    """The nearest training pictures of real ones."""


def standard(real: Real, space: Space, seed: int, resamples: int) -> Standard:
    """Features of the real pictures, and their figures."""
    reference, stand_in = space(real.reference), space(real.stand_in)
    against = reference if real.against is real.reference else space(real.against)
    figures: dict[str, Measured] = {}
    if not too_few(2, stand_in, against):
        draws = distances.frechet_draws(stand_in, against, seed, resamples)
        value = distances.frechet_distance(stand_in, against)
        figures["frechet_distance"] = Measured(value, distances.percentiles(draws), draws)
        within = distances.kernel_interval(stand_in, against, seed, resamples)
        figures["kernel_distance"] = Measured(distances.kernel_distance(stand_in, against), within)
    if not too_few(BALL + 1, stand_in, against):
        figures["precision"] = Measured(*share(distances.inside(stand_in, against, BALL)))
        figures["recall"] = Measured(*share(distances.inside(against, stand_in, BALL)))
    return Standard(space, reference, figures, near_of_real(real, space))


def near_of_real(real: Real, space: Space | None = None) -> Nearest:
    """The nearest training pictures of held-out ones; where there are none, of training pictures among the others."""
    if real.held_out is not None:
        return nearest(real.reference[:MOST_NEIGHBOURS], real.train, space)
    x, _, found = read(real.train, chosen(len(real.train), MOST_NEIGHBOURS, 0, "neighbours"))
    return nearest(x, real.train, space, apart=found)


def share(hits: Tensor | NDArray[np.bool_]) -> tuple[float, Interval]:
    """The share of those that are true, and its interval."""
    right, of = int(hits.sum()), len(hits)
    return right / of, distances.share_interval(right, of)


def too_few(least: int, *sets: Sequence[Any] | NDArray[Any]) -> str:
    """Why a figure can't be had, or nothing."""
    fewest = min(map(len, sets))
    return "" if fewest >= least else f"needs at least {least} pictures on each side, but one has {fewest}"
