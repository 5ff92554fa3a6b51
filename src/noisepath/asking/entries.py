"""One name that a model can be asked for: how what is said of it becomes a tensor, and what training pictures say of it.

None, wherever a value may stand, says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from noisepath.asking.encoded import EncodedText
from noisepath.asking.pictured import Pictured
from noisepath.asking.tokens import Tokens, texts_of
from noisepath.errors import lookup, shown, unknown
from noisepath.nn.parts import Part

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Classes", "Entry", "Number", "Text", "entry_from"]

_FARTHEST = 1e6
"""Standard deviations from the mean beyond which a number is taken for a slip: a network's float32 makes nothing of it."""


@dataclass(frozen=True)
class Classes:
    """One of some names, such as a picture's class."""

    name: str
    names: tuple[str, ...]

    def part(self) -> Part:
        """How the network is told."""
        return Part(self.name, "class", len(self.names))

    def encode(self, said: Sequence[Any], *, cut: bool = False, strict: bool = True) -> Tensor:
        """Names, or their numbers, as int64 (B,)."""
        return torch.tensor([self._number(value) for value in said])

    def _number(self, value: Any) -> int:
        if value is None:
            return len(self.names)
        said = str(value) if isinstance(value, bool) else value  # as a data set's yes and no are named
        if isinstance(said, str) and said in self.names:
            return self.names.index(said)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(self.names):
            return value
        raise unknown(f"{'class' if self.name == 'label' else self.name}", value, self.names)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": "classes", "name": self.name, "names": list(self.names)}


@dataclass(frozen=True)
class Number:
    """A number; the network is told how many standard deviations it is from the training pictures' mean."""

    name: str
    mean: float
    deviation: float
    least: float
    most: float
    """What training saw; another number can be asked for too."""

    def part(self) -> Part:
        """How the network is told."""
        return Part(self.name, "values", 1)

    def encode(self, said: Sequence[Any], *, cut: bool = False, strict: bool = True) -> Tensor:
        """Numbers, or their texts, as float32 (B, 1)."""
        return torch.tensor([[(self._number(value) - self.mean) / self.deviation] for value in said], dtype=torch.float32)

    def _number(self, value: Any) -> float:
        if value is None:
            return math.nan
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not abs(number - self.mean) <= _FARTHEST * self.deviation:  # true of NaN and infinity, too
            seen = f"{self.least:g} to {self.most:g} in training"
            raise ValueError(f"{self.name} takes a number ({seen}), but got {shown(value)}")
        return number

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": "number", **asdict(self)}


@dataclass(frozen=True)
class Text:
    """A text, read by an encoder that was trained along."""

    name: str
    tokens: Tokens
    width: int = 128
    layers: int = 2

    def part(self) -> Part:
        """How the network is told."""
        return Part(self.name, "text", self.tokens.size, self.tokens.length, self.width, self.layers)

    def encode(self, said: Sequence[Any], *, cut: bool = False, strict: bool = True) -> Tensor:
        """Texts as int64 (B, length); see :meth:`~noisepath.asking.tokens.Tokens.encode`."""
        return self.tokens.encode(texts_of(self.name, said, strict), strict=strict, cut=cut)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": "text", **asdict(self)}


Entry = Classes | Number | Text | EncodedText | Pictured

_KINDS: dict[str, type[Entry]] = {
    "classes": Classes, "number": Number, "text": Text, "encoded": EncodedText, "pictured": Pictured,
}  # fmt: skip


def entry_from(values: Mapping[str, Any]) -> Entry:
    """The inverse of an entry's ``to_dict``, also after a round trip through JSON."""
    told = dict(values)
    kind = lookup(_KINDS, told.pop("kind", ""), "kind of entry")
    if kind is Classes:
        return Classes(told["name"], tuple(told["names"]))
    if kind in (Number, EncodedText, Pictured):
        return kind(**told)
    tokens = {**told.pop("tokens")}
    return Text(tokens=Tokens(tokens["kind"], tokens["length"], tuple(tokens["words"])), **told)
