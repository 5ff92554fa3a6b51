"""All that a model can be asked for: learnt from its training data, told to its network, offered to the user."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from noisepath.asking.encoded import EncodedText
from noisepath.asking.entries import Classes, Entry, Number, Text, entry_from
from noisepath.asking.kept import Rows, kept
from noisepath.asking.pictured import KINDS, Pictured
from noisepath.asking.tokens import Tokens
from noisepath.conditions import Condition
from noisepath.errors import shown, unknown
from noisepath.nn.parts import Needs, always_told

if TYPE_CHECKING:
    from torch import Tensor

    from noisepath.asking.encoder import TextFeatures
    from noisepath.data import Data
    from noisepath.nn.parts import Part

__all__ = ["MOST_CLASSES", "Vocabulary"]

MOST_CLASSES = 1000
"""Different values of an attribute that are taken as names to choose from."""


class Vocabulary:
    """The names that can be asked for, in order; an empty one is that of a model without conditions.

    ``needs`` says what has to be asked for, since the model was never shown a sample without it: "nothing", "something" (at
    least one name) or "everything" (each).
    """

    def __init__(self, entries: Iterable[Entry] = (), needs: Needs = "nothing") -> None:
        self.needs: Needs = needs
        self.entries: dict[str, Entry] = {}
        for entry in entries:
            if entry.name in self.entries:
                raise ValueError(f"what can be asked for has names of its own, but {entry.name!r} is there twice")
            self.entries[entry.name] = entry

    @classmethod
    def of(
        cls,
        data: Data,
        names: Sequence[str] | None = None,
        *,
        tokens: str = "auto",
        length: int | None = None,
        width: int = 128,
        layers: int = 2,
        low_resolution: int | None = None,
        encoder: TextFeatures | None = None,
    ) -> Vocabulary:
        """What pictures say of themselves: their class ("label"), caption ("text"), attributes by their names, and what is seen
        of them (:mod:`noisepath.asking.pictured`).

        Args:
            data: the training pictures.
            names: what of it; "label" and "text" where the pictures have them, if not said.
            tokens, length: how captions are read (:meth:`noisepath.asking.tokens.Tokens.of`).
            width, layers: of the encoder that reads them.
            low_resolution: pixels of the longer side of the picture in low resolution; a quarter of the picture's if not given.
            encoder: a frozen one that reads them in its place; of the above, only ``length`` is for it.

        ValueError for a name that the pictures say nothing of.
        """
        there = _known(data)
        chosen = [name for name in ("label", "text") if name in there] if names is None else list(names)
        if low_resolution is not None and "low_resolution" not in chosen:
            raise ValueError(f"low_resolution {low_resolution} is of a condition that is not told: add it to the conditions")
        for name in chosen:
            if name not in (*there, *KINDS):
                if not there and name in ("label", "text"):
                    raise ValueError(f"a model can't be told {name!r} of pictures without classes, captions and attributes")
                raise unknown("condition", name, (*there, *KINDS))
        if encoder is not None and "text" not in chosen:
            why = "these pictures have none" if "text" not in there else "the conditions are without text"
            raise ValueError(f"{encoder.name} is to read captions, but {why}")

        def text(captions: Sequence[str]) -> Text | EncodedText:
            if encoder is not None:
                return EncodedText.of("text", captions, encoder, length)
            return Text("text", Tokens.of(captions, tokens, length), width, layers)

        return cls(
            _entry(data, name, text) if name in there else _pictured(name, data.shape, low_resolution)
            for name in dict.fromkeys(chosen)
        )

    def __bool__(self) -> bool:
        return bool(self.entries)

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    @property
    def classes(self) -> int:
        """How many classes the pictures have, as far as the model is told of them."""
        entry = self.entries.get("label")
        return len(entry.names) if isinstance(entry, Classes) else 0

    @property
    def parts(self) -> tuple[Part, ...]:
        """What the network is told, beside the class."""
        return tuple(entry.part() for name, entry in self.entries.items() if name != "label")

    @property
    def others(self) -> list[dict[str, Any]]:
        """All entries but the class, for JSON."""
        return [entry.to_dict() for name, entry in self.entries.items() if name != "label"]

    @classmethod
    def from_info(cls, class_names: Sequence[str], others: Sequence[Mapping[str, Any]]) -> Vocabulary:
        """The inverse of ``others``, and the class."""
        label = [Classes("label", tuple(class_names))] if class_names else []
        return cls([*label, *(entry_from(values) for values in others)])

    @property
    def encoded(self) -> list[EncodedText]:
        """The texts that a frozen encoder reads."""
        return [entry for entry in self.entries.values() if isinstance(entry, EncodedText)]

    def reading_with(self, encoder: str | os.PathLike[str] | TextFeatures) -> Vocabulary:
        """The same with its text encoder elsewhere: in this folder, or given.

        ValueError where that is another encoder than the model was trained with, or where it was trained without one.
        """
        if not self.encoded:
            raise ValueError("this model was trained without a frozen text encoder, so none can be named")
        entries = (e.reading_with(encoder) if isinstance(e, EncodedText) else e for e in self.entries.values())
        return Vocabulary(entries, self.needs)

    def trained_with(self, drop: float, drop_each: float) -> Vocabulary:
        """The same for a model whose condition was hidden with these probabilities: as a whole, and each part where there are
        several.  What was never hidden has to be asked for."""
        if drop > 0 or not self.entries:
            return self
        return Vocabulary(self.entries.values(), "something" if drop_each > 0 and len(self.entries) > 1 else "everything")

    def null(self, device: torch.device | str = "cpu") -> Condition | None:
        """The condition of one picture that says nothing; None where nothing can be said, or something always has to be."""
        if self.needs != "nothing":
            return None
        return Condition({name: e.part().null().to(device) for name, e in self.entries.items()}) if self.entries else None

    def condition(self, n: int, *, device: torch.device | str = "cpu", cut: bool = False, **asked: Any) -> Condition | None:
        """What is asked for, for n pictures; names that are left out say nothing.

        Args:
            n: how many pictures.
            device: where the tensors are to be.
            cut: cut a text that is too long, in place of an error.
            asked: by name one value for all pictures, or a list of n; None says nothing.

        ValueError for a name or value that the model does not know (with the nearest), an empty text, or a list of another
        length; None where nothing can be asked for.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"n is the number of pictures, 1 or more, but is {n!r}")
        for name in asked:
            if name not in self.entries:
                if not self.entries:
                    raise ValueError(f"this model was trained without conditions, so {name!r} can't be asked for")
                raise unknown("condition of this model", name, self.entries)
        if not self.entries:
            return None
        self._check_needs({name for name, value in asked.items() if not _says_nothing(value)})
        told: dict[str, Tensor] = {}
        for name, entry in self.entries.items():
            said = asked.get(name)
            values = list(said) if isinstance(said, list | tuple) else [said] * n
            if len(values) != n:
                raise ValueError(f"{name} is asked for {len(values)} times for {n} pictures")
            told[name] = entry.encode(values, cut=cut).to(device)
        return Condition(told)

    def _check_needs(self, asked: Collection[str]) -> None:
        """ValueError where what is asked for leaves out something that the model was always told."""
        missing = [name for name in self.entries if name not in asked]
        if missing and (self.needs == "everything" or (self.needs == "something" and len(missing) == len(self.entries))):
            raise ValueError(always_told(missing))

    def table(self, data: Data) -> dict[str, Tensor]:
        """What is written of each picture of a data set, by name, (N, ...); a word that is not known is any other word."""
        written = [(name, e) for name, e in self.entries.items() if not isinstance(e, Pictured)]
        return {name: e.encode(_said(data, name), cut=True, strict=False) for name, e in written}

    def rows(self, data: Data, folder: Path, told: Callable[[int], None] | None = None) -> dict[str, Rows]:
        """The same to look pictures up in, by tensors of their numbers: what an encoder reads is kept in the folder, and
        computed where it is not there yet (:func:`noisepath.asking.kept.kept`)."""
        return {
            name: kept(e, _said(data, name), folder, told)
            if isinstance(e, EncodedText)
            else e.encode(_said(data, name), cut=True, strict=False)
            for name, e in self.entries.items()
            if not isinstance(e, Pictured)
        }

    def seen(self, x: Tensor, seed: int, step: int, samples: Sequence[int]) -> dict[str, Tensor]:
        """What is seen of pictures (B, C, H, W), by name: a function of them and (seed, step, sample)."""
        return {name: e.of(x, seed, step, samples) for name, e in self.entries.items() if isinstance(e, Pictured)}

    def told(self, data: Data, numbers: Sequence[int], device: torch.device | str = "cpu") -> Condition | None:
        """All that these pictures of a data set say; None where nothing can be said."""
        parts = self.table(data.subset(numbers))
        if len(parts) < len(self.entries):
            parts |= self.seen(data.batch(numbers)[0], 0, 0, numbers)
        return Condition(parts).to(device) if parts else None

    def said(self, data: Data, place: int) -> dict[str, Any]:
        """What one picture of a data set says, by name, as it can be asked for; names of which it says nothing are left out."""
        row: dict[str, Any] = {}
        if "label" in self.entries and data.labels is not None:
            row["label"] = data.class_names[int(data.labels[place])]
        if "text" in self.entries and data.captions is not None:
            row["text"] = data.captions[place] or None
        told = data.attributes[place] if data.attributes else {}
        row |= {name: told.get(name) for name in self.entries if name not in ("label", "text")}
        return {name: value for name, value in row.items() if value is not None}


def _says_nothing(value: Any) -> bool:
    """Whether a value, or one of a list, asks for nothing."""
    return value is None or (isinstance(value, list | tuple) and any(one is None for one in value))


def _finite(name: str, value: float) -> float:
    """A number of a picture; JSON's 1e400 is infinite here, and whole numbers have no largest one."""
    if not abs(value) <= sys.float_info.max:
        raise ValueError(f"the attribute {name!r} is to be told as a number, but {shown(value)} is beyond what floats hold")
    return float(value)


def _known(data: Data) -> list[str]:
    """Names of which pictures say something."""
    known = ["label"] * (data.labels is not None) + ["text"] * (data.captions is not None)
    return [*known, *sorted({name for row in data.attributes or () for name in row} - {"label", "text"})]


def _said(data: Data, name: str) -> list[Any]:
    if name == "label":
        assert data.labels is not None
        return list(data.labels.tolist())
    if name == "text":
        return [text or None for text in data.captions or ()]
    return [row.get(name) for row in data.attributes or ()]


def _pictured(name: str, shape: tuple[int, int, int], low: int | None) -> Pictured:
    channels, *size = shape
    if name == "low_resolution":
        longest = max(size)
        side = max(1, longest // 4) if low is None else low
        if not 1 <= side < longest:
            raise ValueError(f"low_resolution is 1 to {longest - 1} pixels of pictures of {longest}, but is {low}")
        size = [max(1, round(pixels * side / longest)) for pixels in size]
    return Pictured(name, channels, *size)


def _entry(data: Data, name: str, text: Callable[[Sequence[str]], Text | EncodedText]) -> Entry:
    """What kind of thing is said under this name."""
    if name == "label":
        return Classes(name, tuple(data.class_names))
    values = [value for value in _said(data, name) if value is not None]
    if name == "text":
        return text(values)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        numbers = torch.tensor([_finite(name, value) for value in values], dtype=torch.float64)
        deviation = float(numbers.std(correction=0)) or 1.0
        return Number(name, float(numbers.mean()), deviation, float(numbers.min()), float(numbers.max()))
    if all(isinstance(value, str | bool) for value in values):
        names = sorted({str(value) for value in values})
        if len(names) <= MOST_CLASSES:
            return Classes(name, tuple(names))
        raise ValueError(f"attribute {name!r} has {len(names):,} different values, but {MOST_CLASSES:,} at most are told apart")
    raise ValueError(f"the attribute {name!r} is neither always a number nor always a text, such as {values[0]!r}")
