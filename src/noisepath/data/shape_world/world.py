"""What there is: shapes, colours, sizes, places and relations; what a caption claims of them; what training never shows.

Places and extents are shares of the picture's side, x to the right and y downwards from the top left corner.  A picture is a
3 x 3 grid of cells with at most one thing in each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from math import ceil

from noisepath import noise
from noisepath.errors import lookup

__all__ = [
    "BACKGROUND",
    "COLOURS",
    "MOST_SHAPES",
    "OPPOSITE",
    "PLACES",
    "RELATIONS",
    "SHAPES",
    "SIZES",
    "Claim",
    "Claims",
    "Fact",
    "Relation",
    "Thing",
    "facts",
    "held_out_pairs",
    "held_out_relations",
    "holds",
    "place_at",
    "trained_pairs",
    "unseen",
]

SHAPES = ("circle", "square", "triangle", "cross")
BACKGROUND = (128, 128, 128)
"""Red, green and blue in 0 .. 255: in the middle, so that each colour lies in another direction from it."""
COLOURS = {
    "red": (230, 45, 45),
    "green": (40, 190, 70),
    "blue": (45, 80, 235),
    "yellow": (245, 225, 40),
    "purple": (190, 45, 215),
    "cyan": (40, 215, 225),
}
SIZES = {"small": 0.155, "medium": 0.215, "large": 0.285}
"""Height and width of a thing; at most a third, the side of a cell."""
PLACES = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
RELATIONS = tuple(OPPOSITE)
MOST_SHAPES = 3

Fact = tuple[str, str, str]
"""Shape, relation, shape."""


@dataclass(frozen=True)
class Thing:
    """What stands in a picture, drawn or read from it; ``x`` and ``y`` are its middle."""

    shape: str
    colour: str
    size: str
    x: float
    y: float

    @property
    def place(self) -> str:
        """The cell that its middle lies in."""
        return place_at(self.x, self.y)


@dataclass(frozen=True)
class Claim:
    """What a caption says of one thing; None: it says nothing of that."""

    shape: str
    colour: str
    size: str | None = None
    place: str | None = None

    def __post_init__(self) -> None:
        lookup(dict.fromkeys(SHAPES), self.shape, "shape")
        lookup(COLOURS, self.colour, "colour")
        if self.size is not None:
            lookup(SIZES, self.size, "size")
        if self.place is not None:
            lookup(dict.fromkeys(PLACES), self.place, "place")


@dataclass(frozen=True)
class Relation:
    """The ``first`` claim's thing is ``relation`` ("left of" ...) the ``second``'s; both are counted from 0."""

    first: int
    relation: str
    second: int

    def __post_init__(self) -> None:
        lookup(OPPOSITE, self.relation, "relation")


@dataclass(frozen=True)
class Claims:
    """All that a caption says: so many things, what they are, and how they stand to each other."""

    things: tuple[Claim, ...]
    relations: tuple[Relation, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.things)
        if not 1 <= count <= MOST_SHAPES:
            raise ValueError(f"a caption is about one to {MOST_SHAPES} shapes, but this one is about {count}")
        for said in self.relations:
            if said.first == said.second or not all(0 <= i < count for i in (said.first, said.second)):
                raise ValueError(f"a relation is between two of {count} shapes, counted from 0, but is {said}")


def place_at(x: float, y: float) -> str:
    """The name of the cell around this point."""
    column, row = (min(2, max(0, int(3 * value))) for value in (x, y))
    return PLACES[3 * row + column]


def holds(first: Thing, relation: str, second: Thing) -> bool:
    """Whether the relation is true: the middles are at least half a cell apart in its direction, whatever in the other.

    Half a cell divides neighbouring columns (rows) from equal ones, wherever in their cells things stand.
    """
    by = {"left of": second.x - first.x, "above": second.y - first.y}
    ahead = by[relation] if relation in by else -by[OPPOSITE[relation]]
    return ahead > 1 / 6


def facts(things: Sequence[Thing]) -> Iterator[Fact]:
    """All relations between unlike shapes that are true of these things, each said from both ends."""
    for first, second in permutations(things, 2):
        for relation in RELATIONS:
            if first.shape != second.shape and holds(first, relation, second):
                yield first.shape, relation, second.shape


@cache
def held_out_pairs() -> tuple[tuple[str, str], ...]:
    """(colour, shape) that no training picture shows: a tenth of all, rounded up, no two alike in shape or colour."""
    everything = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    chosen: list[tuple[str, str]] = []
    for pair in sorted(everything, key=lambda pair: noise.key("shapes", "held out", *pair)):
        if len(chosen) < ceil(len(everything) / 10) and all(not set(pair) & set(other) for other in chosen):
            chosen.append(pair)
    return tuple(chosen)


@cache
def trained_pairs() -> tuple[tuple[str, str], ...]:
    """All other (colour, shape)."""
    return tuple((colour, shape) for colour in COLOURS for shape in SHAPES if (colour, shape) not in held_out_pairs())


@cache
def held_out_relations() -> tuple[Fact, ...]:
    """(shape, relation, shape) true in no training picture: a tenth of all, rounded up; no two of the same two shapes, and no
    shape in more than two.

    "A circle left of a square" is the same as "a square right of a circle": both stand here, one behind the other.
    """
    everything = [(a, relation, b) for i, a in enumerate(SHAPES) for b in SHAPES[i + 1 :] for relation in RELATIONS]
    chosen: list[Fact] = []
    for fact in sorted(everything, key=lambda fact: noise.key("shapes", "held out", *fact)):
        taken = [(a, b) for a, _, b in chosen]
        often = max(sum(shape in pair for pair in taken) for shape in (fact[0], fact[2]))
        if len(chosen) < ceil(len(everything) / 10) and often < 2 and (fact[0], fact[2]) not in taken:
            chosen.append(fact)
    return tuple(said for a, relation, b in chosen for said in ((a, relation, b), (b, OPPOSITE[relation], a)))


def unseen(claims: Claims) -> tuple[str, ...]:
    """What of these claims training never shows: "red circle", "circle left of square"."""
    pairs = [f"{thing.colour} {thing.shape}" for thing in claims.things if (thing.colour, thing.shape) in held_out_pairs()]
    said = [(claims.things[r.first].shape, r.relation, claims.things[r.second].shape) for r in claims.relations]
    return (*pairs, *(" ".join(fact) for fact in said if fact in held_out_relations()))
