"""All that a model can be asked for: learnt from its training data, told to its network, offered to the user."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from noisepath.asking.encoded import EncodedText
from noisepath.asking.entries import Classes, Entry, Number, Text, entry_from
from noisepath.asking.kept import Rows, kept
from noisepath.asking.tokens import Tokens
from noisepath.conditions import Condition
from noisepath.errors import unknown

if TYPE_CHECKING:
    from torch import Tensor

    from noisepath.asking.encoder import TextFeatures
    from noisepath.data import Data
    from noisepath.nn.parts import Part

__all__ = ["MOST_CLASSES", "Vocabulary"]

MOST_CLASSES = 1000
"""Different values of an attribute that are taken as names to choose from."""


class Vocabulary:
    """The names that can be asked for, in order; an empty one is that of a model without conditions."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries = {entry.name: entry for entry in entries}

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
        encoder: TextFeatures | None = None,
    ) -> Vocabulary:
        """What pictures say of themselves: their class ("label"), caption ("text"), and attributes by their names.

        Args:
            data: the training pictures.
            names: what of it; "label" and "text" where the pictures have them, if not said.
            tokens, length: how captions are read (:meth:`noisepath.asking.tokens.Tokens.of`).
            width, layers: of the encoder that reads them.
            encoder: a frozen one that reads them in its place; of the above, only ``length`` is for it.

        ValueError for a name that the pictures say nothing of.
        """
        there = _known(data)
        chosen = [name for name in ("label", "text") if name in there] if names is None else list(names)
        for name in chosen:
            if name not in there:
                if not there:
                    raise ValueError(f"a model can't be told {name!r} of pictures without classes, captions and attributes")
                raise unknown("condition", name, there)
        if encoder is not None and "text" not in chosen:
            why = "these pictures have none" if "text" not in there else "the conditions are without text"
            raise ValueError(f"{encoder.name} is to read captions, but {why}")

        def text(captions: Sequence[str]) -> Text | EncodedText:
            if encoder is not None:
                return EncodedText.of("text", captions, encoder, length)
            return Text("text", Tokens.of(captions, tokens, length), width, layers)

        return cls(_entry(data, name, text) for name in dict.fromkeys(chosen))

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
        return Vocabulary(e.reading_with(encoder) if isinstance(e, EncodedText) else e for e in self.entries.values())

    def null(self, device: torch.device | str = "cpu") -> Condition | None:
        """The condition of one picture that says nothing; None where nothing can be said."""
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
        for name in asked:
            if name not in self.entries:
                if not self.entries:
                    raise ValueError(f"this model was trained without conditions, so {name!r} can't be asked for")
                raise unknown("condition of this model", name, self.entries)
        if not self.entries:
            return None
        told: dict[str, Tensor] = {}
        for name, entry in self.entries.items():
            said = asked.get(name)
            values = list(said) if isinstance(said, list | tuple) else [said] * n
            if len(values) != n:
                raise ValueError(f"{name} is asked for {len(values)} times for {n} pictures")
            told[name] = entry.encode(values, cut=cut).to(device)
        return Condition(told)

    def table(self, data: Data) -> dict[str, Tensor]:
        """What each picture of a data set says, by name, (N, ...); a word that is not known is any other word."""
        return {name: e.encode(_said(data, name), cut=True, strict=False) for name, e in self.entries.items()}

    def rows(self, data: Data, folder: Path, told: Callable[[int], None] | None = None) -> dict[str, Rows]:
        """The same to look pictures up in, by tensors of their numbers: what an encoder reads is kept in the folder, and
        computed where it is not there yet (:func:`noisepath.asking.kept.kept`)."""
        return {
            name: kept(e, _said(data, name), folder, told)
            if isinstance(e, EncodedText)
            else e.encode(_said(data, name), cut=True, strict=False)
            for name, e in self.entries.items()
        }


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


def _entry(data: Data, name: str, text: Callable[[Sequence[str]], Text | EncodedText]) -> Entry:
    """What kind of thing is said under this name."""
    if name == "label":
        return Classes(name, tuple(data.class_names))
    values = [value for value in _said(data, name) if value is not None]
    if name == "text":
        return text(values)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        numbers = torch.tensor(values, dtype=torch.float64)
        deviation = float(numbers.std(correction=0)) or 1.0
        return Number(name, float(numbers.mean()), deviation, float(numbers.min()), float(numbers.max()))
    if all(isinstance(value, str | bool) for value in values):
        names = sorted({str(value) for value in values})
        if len(names) <= MOST_CLASSES:
            return Classes(name, tuple(names))
        raise ValueError(f"attribute {name!r} has {len(names):,} different values, but {MOST_CLASSES:,} at most are told apart")
    raise ValueError(f"the attribute {name!r} is neither always a number nor always a text, such as {values[0]!r}")
