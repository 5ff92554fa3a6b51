"""Claims in words: ``say`` writes a caption, ``parse`` understands one, the user's too.

    caption   [there is | a picture of] part {, part} [and part]
    part      thing [[,] relation thing {and relation thing}]   (all relations are the first thing's)
    thing     a [size] colour shape [place]

After a part with a relation a comma must stand before the next thing: in "A left of B and C" nobody can tell whether C is
on the right as well.  A comma parts a place from a relation: "at the top right of B" would be understood in two ways.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from noisepath.data.shape_world.world import COLOURS, MOST_SHAPES, PLACES, SHAPES, Claim, Claims, Relation
from noisepath.errors import unknown

__all__ = ["parse", "say"]

SIZE_WORDS = {"small": ("small", "little"), "medium": ("medium", "medium-sized"), "large": ("large", "big")}
RELATION_WORDS = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above",),
    "below": ("below", "under"),
}
PLACE_WORDS = {
    **{place: (f"at the {place}", f"in the {place} corner") for place in PLACES if " " in place},
    **{place: (f"at the {place}",) for place in ("top", "bottom")},
    **{place: (f"on the {place}",) for place in ("left", "right")},
    "centre": ("in the centre", "in the middle"),
}
OPENINGS = ("", "there is", "a picture of")
_ALSO_UNDERSTOOD = {"in the center": "centre"}

Choose = Callable[[Sequence[str]], str]
"""One of several ways to say the same."""
T = TypeVar("T")


def say(claims: Claims, choose: Choose) -> str:
    """A caption that claims this, in words chosen by ``choose``."""
    parts = _parts(claims, [_thing(thing, choose) for thing in claims.things], choose)
    joined = ", ".join(parts[:-1])
    last = ", and " if joined and claims.relations else " and " if joined else ""
    return f"{choose(OPENINGS)} {joined}{last}{parts[-1]}".strip()


def _parts(claims: Claims, said: list[str], choose: Choose) -> list[str]:
    """Each thing with those it is related to, in order; a thing that another one is related to has no part of its own."""
    related = {relation.second for relation in claims.relations}
    parts = []
    for i, thing in enumerate(said):
        of = [f"{choose(RELATION_WORDS[r.relation])} {said[r.second]}" for r in claims.relations if r.first == i]
        if i not in related:
            parts.append(thing + (", " if of and claims.things[i].place else " " if of else "") + " and ".join(of))
    return parts


def _thing(thing: Claim, choose: Choose) -> str:
    size = [] if thing.size is None else [choose(SIZE_WORDS[thing.size])]
    place = [] if thing.place is None else [choose(PLACE_WORDS[thing.place])]
    return " ".join(["a", *size, thing.colour, thing.shape, *place])


def _phrases(words: Mapping[str, Sequence[str]]) -> dict[tuple[str, ...], str]:
    return {tuple(phrase.split()): name for name, phrases in words.items() for phrase in phrases}


_SIZES, _RELATIONS = _phrases(SIZE_WORDS), _phrases(RELATION_WORDS)
_PLACES = {**_phrases(PLACE_WORDS), **{tuple(said.split()): place for said, place in _ALSO_UNDERSTOOD.items()}}
_OPENINGS = {tuple(said.split()): said for said in OPENINGS if said}
_COLOURS, _SHAPES = (_phrases({name: [name] for name in names}) for names in (COLOURS, SHAPES))
_KNOWN = ("a", "an", "and", *_COLOURS, *_SHAPES, *_SIZES, *_PLACES, *_RELATIONS, *_OPENINGS)
VOCABULARY = tuple(dict.fromkeys(word for known in _KNOWN for word in ([known] if isinstance(known, str) else known)))


def parse(caption: str) -> Claims:
    """What a caption claims, in whatever mixture of capitals and with or without a full stop.

    Raises:
        ValueError: a word that no caption has (the nearest one that some have is named), a word in the wrong place, or more
            than three shapes.
    """
    words = _Words(caption)
    words.take(_OPENINGS)
    things: list[Claim] = []
    relations: list[Relation] = []
    while True:
        first = _more(things, words)
        if relation := words.take(_FIRST_RELATIONS):
            while relation:
                relations.append(Relation(first, relation, _more(things, words)))
                relation = words.take(_AND_RELATIONS)
            if words.next == "and":
                raise words.error("'and'", "a comma before it, or a relation behind it")
        if not words.next:
            return Claims(tuple(things), tuple(relations))
        if not words.take(_JOINTS):
            raise words.error(repr(words.next), "a place, a relation, a comma or 'and'")


_FIRST_RELATIONS = {**_RELATIONS, **{(",", *phrase): name for phrase, name in _RELATIONS.items()}}
_AND_RELATIONS = {("and", *phrase): name for phrase, name in _RELATIONS.items()}
_JOINTS = {(",", "and"): ",", (",",): ",", ("and",): ","}


def _more(things: list[Claim], words: _Words) -> int:
    """Reads one more thing; gives its number."""
    words.take({("a",): "a", ("an",): "a"})
    size = words.take(_SIZES)
    colour = words.need(_COLOURS, "a colour" if size else "a size or a colour")
    shape = words.need(_SHAPES, "a shape")
    if len(things) == MOST_SHAPES:
        raise ValueError(f"the caption {words.caption!r} is about more than {MOST_SHAPES} shapes")
    things.append(Claim(shape, colour, size, words.take(_PLACES)))
    return len(things) - 1


class _Words:
    """The words of a caption that are still to be understood."""

    def __init__(self, caption: str) -> None:
        self.caption = caption
        self._left = re.findall(r",|[^\s,]+", caption.lower().strip().removesuffix("."))
        for word in self._left:
            if word not in VOCABULARY and word != ",":
                raise unknown(f"word in the caption {caption!r}:", word, VOCABULARY)

    @property
    def next(self) -> str:
        return self._left[0] if self._left else ""

    def take(self, phrases: Mapping[tuple[str, ...], T]) -> T | None:
        """The meaning of the longest of the phrases that comes next; None, and nothing taken, if none does."""
        fitting = [phrase for phrase in phrases if tuple(self._left[: len(phrase)]) == phrase]
        if not fitting:
            return None
        longest = max(fitting, key=len)
        del self._left[: len(longest)]
        return phrases[longest]

    def need(self, phrases: Mapping[tuple[str, ...], T], what: str) -> T:
        found = self.take(phrases)
        if found is None:
            there = ", ".join(" ".join(phrase) for phrase in phrases)
            raise self.error(repr(self.next) if self.next else "its end", f"{what} (there are: {there})")
        return found

    def error(self, found: str, wanted: str) -> ValueError:
        return ValueError(f"the caption {self.caption!r} has {found} where it needs {wanted}")
