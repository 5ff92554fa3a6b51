"""Which scene, claims and caption the n-th picture has: functions of (seed, n) alone; and prompts to draw pictures for.

The things of a scene differ in shape or colour, and each (colour, shape) is as likely as any other that training shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from noisepath import noise
from noisepath.data.shape_world.captions import say
from noisepath.data.shape_world.world import (
    MOST_SHAPES,
    PLACES,
    RELATIONS,
    SIZES,
    Claim,
    Claims,
    Fact,
    Relation,
    Thing,
    facts,
    held_out_pairs,
    held_out_relations,
    holds,
    trained_pairs,
)
from noisepath.errors import lookup

__all__ = ["KINDS", "Captioned", "captioned", "describe", "layout", "prompts", "sayable"]

KINDS = {"trained": "of what training shows", "held_out": "each claims a pair or a relation that training never shows"}
MARGIN = 0.02
"""What stays free between a thing and the edge of its cell, as a share of the picture's side."""

Pair = tuple[str, str]
T = TypeVar("T")


@dataclass(frozen=True)
class Captioned:
    """A scene, and what is said of it: a true caption, and its claims, of which the n-th is about the n-th thing."""

    scene: tuple[Thing, ...]
    claims: Claims
    caption: str


class Draws:
    """A row of choices that is a function of the words it is made from."""

    def __init__(self, *words: int | str) -> None:
        self._unit = Random(noise.key("shapes", *words)).random  # the one method whose numbers Python promises to keep

    def __call__(self, several: Sequence[T]) -> T:
        return several[int(self._unit() * len(several))]

    def chance(self, probability: float) -> bool:
        return self._unit() < probability

    def within(self, most: float) -> float:
        """A number between -most and most."""
        return (2.0 * self._unit() - 1.0) * most

    def different(self, several: Sequence[T], count: int) -> list[T]:
        """So many different ones, in any order."""
        left = list(several)
        return [left.pop(int(self._unit() * len(left))) for _ in range(count)]


def captioned(indices: Iterable[int], seed: int = 0) -> list[Captioned]:
    """The training scenes of these numbers: every third has one, two or three things, and none shows what is held out."""
    return [_trained(Draws(seed, "training", index), index % MOST_SHAPES + 1) for index in indices]


def prompts(kind: str, shapes: int, n: int, seed: int = 0) -> list[Captioned]:
    """Captions to draw pictures for, each with its claims and a scene that it is true of; other ones than training's.

    Args:
        kind: "trained": new captions of combinations that training shows.  "held_out": each claims one that it doesn't; a
            colour of a shape in even ones, a relation of two shapes in odd ones (of one shape: a colour in all).
        shapes: how many things each is about, 1 to 3.
        n: how many captions.
        seed: the n-th is a function of (kind, shapes, seed, n).

    Raises:
        ValueError: an unknown kind, or numbers out of range.
    """
    lookup(KINDS, kind, "kind of prompts")
    if isinstance(shapes, bool) or shapes not in range(1, MOST_SHAPES + 1):
        raise ValueError(f"shapes must be 1 to {MOST_SHAPES}, but is {shapes!r}")
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"n must be a whole number >= 1, but is {n!r}")
    draws = [Draws(seed, "prompts", kind, shapes, i) for i in range(n)]
    if kind == "trained":
        return [_trained(draw, shapes) for draw in draws]
    return [_new_relation(draw, shapes) if i % 2 and shapes > 1 else _new_pair(draw, shapes) for i, draw in enumerate(draws)]


def _trained(draw: Draws, count: int) -> Captioned:
    scene = layout(draw.different(trained_pairs(), count), draw)
    return describe(scene, draw)


def _new_pair(draw: Draws, count: int) -> Captioned:
    """One thing of a held-out pair, at any place of the caption; the others and all relations are as in training."""
    pairs = [draw(held_out_pairs()), *draw.different(trained_pairs(), count - 1)]
    return describe(layout(draw.different(pairs, count), draw), draw)


def _new_relation(draw: Draws, count: int) -> Captioned:
    """Two things that stand as in no training picture, which the caption says; their colours are as in training."""
    fact = draw(held_out_relations())
    first, second = (draw([pair for pair in trained_pairs() if pair[1] == shape]) for shape in (fact[0], fact[2]))
    others = [pair for pair in trained_pairs() if pair not in (first, second)]
    scene = layout([first, second, *draw.different(others, count - 2)], draw, fact)
    return describe(scene, draw, fact[1])


def layout(pairs: Sequence[Pair], draw: Draws, wanted: Fact | None = None) -> tuple[Thing, ...]:
    """Things of these pairs, of any size, in cells of their own; nothing held out is true of them.

    With ``wanted`` it is true of the first two, and the scene may show it.
    """
    shapes = set() if wanted is None else {wanted[0], wanted[2]}
    forbidden = [fact for fact in held_out_relations() if {fact[0], fact[2]} != shapes]
    while True:
        cells = draw.different(range(len(PLACES)), len(pairs))
        scene = tuple(_thing(*pair, draw(tuple(SIZES)), cell, draw) for pair, cell in zip(pairs, cells, strict=True))
        if (wanted is None or holds(scene[0], wanted[1], scene[1])) and not any(fact in forbidden for fact in facts(scene)):
            return scene


def _thing(colour: str, shape: str, size: str, cell: int, draw: Draws) -> Thing:
    """A thing somewhere in its cell: small ones have more room to stand elsewhere than in its middle."""
    room = (1 / 3 - SIZES[size]) / 2 - MARGIN
    x, y = ((at + 0.5) / 3 + draw.within(max(0.0, room)) for at in (cell % 3, cell // 3))
    return Thing(shape, colour, size, x, y)


def describe(scene: tuple[Thing, ...], draw: Draws, relation: str | None = None) -> Captioned:
    """A true caption of all things of a scene; it says some of their sizes, places and relations.

    With ``relation`` it says that of the first two.
    """
    relations = _relations(scene, draw) if relation is None else (Relation(0, relation, 1),)
    seldom, never = {r.first for r in relations}, {r.second for r in relations}  # "A left of B at the top": which of them is?
    things = tuple(_claim(thing, draw, 0.0 if i in never else 0.2 if i in seldom else 0.6) for i, thing in enumerate(scene))
    claims = Claims(things, relations)
    return Captioned(scene, claims, say(claims, draw))


def _claim(thing: Thing, draw: Draws, place: float) -> Claim:
    """What is said of a thing; its place with this probability."""
    size = thing.size if draw.chance(0.5) else None
    return Claim(thing.shape, thing.colour, size, thing.place if draw.chance(place) else None)


def _relations(scene: tuple[Thing, ...], draw: Draws) -> tuple[Relation, ...]:
    """In two of three captions of several things: one of neighbours in the caption, or two of the first thing."""
    if len(scene) == 1 or draw.chance(1 / 3):
        return ()
    between = [(0, 1)] if len(scene) == 2 else draw([[(0, 1)], [(1, 2)], [(0, 1), (0, 2)]])
    return tuple(Relation(a, draw(sayable(scene[a], scene[b])), b) for a, b in between)


def sayable(first: Thing, second: Thing) -> list[str]:
    """The relations of which a caption says one: true along the axis on which the things are further apart, in cells; along
    both if they are diagonal."""
    true = [relation for relation in RELATIONS if holds(first, relation, second)]
    across, down = (round(3 * abs(a - b)) for a, b in ((first.x, second.x), (first.y, second.y)))
    nearer = ("above", "below") if across > down else ("left of", "right of") if down > across else ()
    return [relation for relation in true if relation not in nearer]
