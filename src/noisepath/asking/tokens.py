"""A text as whole numbers: by the words that training saw, or by its bytes.

By words, texts are short and a word that training never saw is known to be one; by bytes anything can be said.  0 means that
there is nothing more.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from noisepath.errors import lookup, shown, unknown

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["KINDS", "LONGEST", "Tokens", "texts_of", "too_long", "words_of"]

KINDS = {"words": "words and punctuation, in small letters", "bytes": "the bytes of UTF-8"}
MOST_WORDS = 8192
"""Words that are told apart; rarer ones are all one."""
SEEN_EACH = 5
"""How often training must see a word on average for texts to be taken by words."""
LONGEST = 256
"""Tokens of a text, where the length is not said."""
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[^\w\s]|_")


def words_of(text: str) -> list[str]:
    """Words and punctuation marks, in small letters."""
    return _WORD.findall(text.casefold())


@dataclass(frozen=True)
class Tokens:
    """How texts become numbers: ``size`` different ones, at most ``length`` of them."""

    kind: str
    """A name of :data:`KINDS`."""
    length: int
    words: tuple[str, ...] = ()
    """The word with number i + 1; the number after the last is any other word's."""

    def __post_init__(self) -> None:
        lookup(KINDS, self.kind, "kind of tokens")
        if isinstance(self.length, bool) or not isinstance(self.length, int) or self.length < 1:
            raise ValueError(f"a text's length must be a whole number of tokens >= 1, but is {self.length!r}")
        if (self.kind == "words") != bool(self.words):
            raise ValueError("tokens that are words need some words, and bytes none")

    @classmethod
    def of(cls, texts: Iterable[str], kind: str = "auto", length: int | None = None) -> Tokens:
        """The tokens of these texts, long enough for all of them (but at most 256) if the length is not said.

        "auto" takes words where the texts use each five times on average, else bytes.
        """
        texts = list(texts)
        counts = Counter(word for text in texts for word in words_of(text))
        if not counts:
            raise ValueError(f"there is nothing to learn in {len(texts)} texts: none of them has a word")
        if kind == "auto":
            kind = "words" if counts.total() >= SEEN_EACH * len(counts) else "bytes"
        lookup(KINDS, kind, "kind of tokens")
        by_words = kind == "words"
        if length is None:
            length = min(LONGEST, max(len(words_of(text)) if by_words else len(text.encode()) for text in texts))
        often = sorted(counts, key=lambda word: (-counts[word], word))[:MOST_WORDS]
        return cls(kind, length, tuple(sorted(often)) if by_words else ())

    @property
    def size(self) -> int:
        """How many different tokens there are, beside 0."""
        return len(self.words) + 1 if self.kind == "words" else 256

    def encode(self, texts: Sequence[str], *, strict: bool = True, cut: bool = False) -> Tensor:
        """Texts as int64 (B, length).

        Args:
            texts: an empty one says nothing.
            strict: a word that was never seen is an error, which names the nearest; else it is "any other word".
            cut: leave out what is too long; else that is an error, which says what would be cut.
        """
        if isinstance(texts, str):
            raise TypeError(f"texts are a list of them, but got one: [{shown(texts)}] is what is meant")
        rows = [self._fitted(text, self._numbers(text, strict), cut) for text in texts]
        found = torch.zeros(len(rows), self.length, dtype=torch.int64)
        for i, row in enumerate(rows):
            found[i, : len(row)] = torch.tensor(row, dtype=torch.int64)
        return found

    def _numbers(self, text: str, strict: bool) -> list[int]:
        if self.kind == "bytes":
            return [byte + 1 for byte in _utf8(text)]
        place = {word: i + 1 for i, word in enumerate(self.words)}
        numbers = []
        for word in words_of(text):
            if word not in place and strict:
                raise _never_seen(word, self.words)
            numbers.append(place.get(word, self.size))
        return numbers

    def _fitted(self, text: str, numbers: list[int], cut: bool) -> list[int]:
        if len(numbers) <= self.length or cut:
            return numbers[: self.length]
        left = text.encode()[self.length :].decode(errors="replace") if self.kind == "bytes" else ""
        left = left or " ".join(words_of(text)[self.length :])
        raise too_long(len(numbers), self.kind, self.length, left)


def texts_of(name: str, said: Sequence[Any], strict: bool) -> list[str]:
    """What is said under a name as texts, where an empty one says nothing; ``strict``: only None may say nothing."""
    for value in said:
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name} takes a text, but got {value!r}")
        if strict and value is not None and not value.strip():
            raise ValueError(f"an empty {name} asks for nothing: leave it out (None)")
    return [value or "" for value in said]


def too_long(count: int, kind: str, length: int, left: str) -> ValueError:
    """The error of a prompt of ``count`` words, bytes or tokens where a model reads ``length``; ``left`` is not read."""
    return ValueError(
        f"a prompt of {count} {kind} is too long for this model, which reads {length}: it would not read "
        f"{left[:60]!r}{' ...' if len(left) > 60 else ''} (shorten it, or let it be cut)"
    )


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"a text is told in UTF-8, which has no {text[error.start]!r}: {shown(text)}") from None


def _never_seen(word: str, words: tuple[str, ...]) -> ValueError:
    """A word that training never saw, with the nearest; all words only where they are few."""
    if len(words) <= 60:
        return unknown("word", word, words)
    import difflib

    near = difflib.get_close_matches(word, words, n=3, cutoff=0.5)
    hint = f"; did you mean {', '.join(map(repr, near))}?" if near else ""
    return ValueError(f"the model was never told {shown(word)}{hint} ({len(words):,} words are known to it)")
