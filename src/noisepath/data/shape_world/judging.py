"""Whether things are what a caption claims, attribute by attribute; and how often they would be by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from math import comb

from noisepath.data.shape_world.scenes import Draws, describe, layout
from noisepath.data.shape_world.world import MOST_SHAPES, Claims, Thing, holds, trained_pairs

__all__ = ["Verdict", "chance", "satisfies"]


@dataclass(frozen=True)
class Verdict:
    """What is right: for each claim in turn, and for each relation; of sizes and places those that were claimed."""

    count: bool
    """Whether there are as many things as the caption is about."""
    shape: tuple[bool, ...]
    colour: tuple[bool, ...]
    size: tuple[bool, ...]
    place: tuple[bool, ...]
    relation: tuple[bool, ...]

    @property
    def right(self) -> int:
        """How many things, of all that were claimed, are right."""
        return sum(map(sum, (self.shape, self.colour, self.size, self.place, self.relation)))

    @property
    def all_right(self) -> bool:
        """Whether everything is."""
        return self.count and all((*self.shape, *self.colour, *self.size, *self.place, *self.relation))


def satisfies(things: Sequence[Thing], claims: Claims) -> Verdict:
    """Whether things, as :func:`noisepath.data.shape_world.read` finds them, are what is claimed.

    Which thing a claim is about is not written in a picture: of all ways to give each claim a thing of its own (or none, if
    there are too few) the one counts in which most is right.
    """
    there = [*things, *[None] * (len(claims.things) - len(things))]
    same_count = len(things) == len(claims.things)
    ways = permutations(there, len(claims.things))
    return max((_verdict(way, claims, same_count) for way in ways), key=lambda verdict: verdict.right)


def _verdict(way: Sequence[Thing | None], claims: Claims, count: bool) -> Verdict:
    pairs = list(zip(way, claims.things, strict=True))
    ends = [(way[r.first], r.relation, way[r.second]) for r in claims.relations]
    return Verdict(
        count,
        tuple(thing is not None and thing.shape == claim.shape for thing, claim in pairs),
        tuple(thing is not None and thing.colour == claim.colour for thing, claim in pairs),
        tuple(thing is not None and thing.size == claim.size for thing, claim in pairs if claim.size is not None),
        tuple(thing is not None and thing.place == claim.place for thing, claim in pairs if claim.place is not None),
        tuple(a is not None and b is not None and holds(a, relation, b) for a, relation, b in ends),
    )


def chance(shapes: int, n: int = 4000, seed: int = 0) -> float:
    """The probability that a picture drawn for another training caption satisfies one about so many shapes.

    The other one is about as many with probability 1/3, and then about the same shapes and colours with probability
    1 / (number of such sets), exactly: all are equally likely.  That sizes, places and relations are right as well is then
    counted in ``n`` pairs of scenes of the same shapes and colours.

    Raises:
        ValueError: ``shapes`` is not 1 to 3, or ``n`` is less than 1.
    """
    if isinstance(shapes, bool) or shapes not in range(1, MOST_SHAPES + 1) or n < 1:
        raise ValueError(f"chance is of 1 to {MOST_SHAPES} shapes, counted in 1 pair or more, but got {shapes!r} and {n!r}")
    right = 0
    for i in range(n):
        draw = Draws(seed, "chance", shapes, i)
        pairs = draw.different(trained_pairs(), shapes)
        right += satisfies(layout(pairs, draw), describe(layout(pairs, draw), draw).claims).all_right
    return right / n / comb(len(trained_pairs()), shapes) / MOST_SHAPES
