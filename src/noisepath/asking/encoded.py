"""A text that a frozen encoder reads, as one name that a model can be asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from noisepath.asking.encoder import TextFeatures, TransformersEncoder, encoder_in, encoder_of
from noisepath.asking.tokens import LONGEST, texts_of, too_long
from noisepath.nn.parts import Part

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["EncodedText"]


@dataclass(frozen=True)
class EncodedText:
    """A text, read by a frozen encoder that lies in a folder of its own and is opened when the first text is."""

    name: str
    folder: str
    """Where the encoder lies; empty of one that a program gave."""
    fingerprint: str
    """Of the encoder that the network was trained with."""
    length: int
    """Most tokens of a text."""
    width: int
    """Of the encoder's vectors."""
    given: TextFeatures | None = field(default=None, compare=False, repr=False)
    """The encoder itself, where a program gave it."""

    @classmethod
    def of(cls, name: str, texts: Sequence[str], encoder: TextFeatures, length: int | None = None) -> EncodedText:
        """One for these texts: long enough for all of them, if the length is not said, but at most 256 and what is read."""
        if not any(text.strip() for text in texts):
            raise ValueError(f"there is nothing to learn in {len(texts)} texts: none of them has a word")
        most, least = encoder.length, encoder.tokens([""])[0] + 1
        if length is None:
            length = max(least, min(LONGEST, most, max(encoder.tokens(texts), default=0)))
        if not least <= length <= most:
            raise ValueError(f"{encoder.name} reads texts of {least} to {most} tokens, so text_length can't be {length}")
        return cls(name, "", encoder.fingerprint, length, encoder.width, encoder)._lying()

    def _lying(self) -> EncodedText:
        """One whose encoder lies in a folder remembers that."""
        encoder = self.given
        return replace(self, folder=encoder.folder, given=None) if isinstance(encoder, TransformersEncoder) else self

    def part(self) -> Part:
        """How the network is told."""
        return Part(self.name, "features", self.width, self.length)

    def reading_with(self, encoder: str | os.PathLike[str] | TextFeatures) -> EncodedText:
        """The same with its encoder elsewhere, in a folder or given; ValueError where that is another encoder."""
        moved = replace(self, given=encoder_of(encoder))
        moved.encoder()
        return moved._lying()

    def encoder(self) -> TextFeatures:
        """The encoder; ValueError where it is no longer there, or is another one."""
        where = "say where it is (--encoder FOLDER; in Python load(run, encoder=FOLDER))"
        if self.given is None and not self.folder:
            raise ValueError(
                "prompts of this model are read by an encoder that a program gave in training (fingerprint "
                f"{self.fingerprint}): give it again, load(run, encoder=...)"
            )
        try:
            encoder = encoder_in(self.folder) if self.given is None else self.given
        except (OSError, ValueError) as error:
            raise ValueError(
                f"prompts of this model are read by the text encoder in {self.folder!r} (fingerprint {self.fingerprint}), "
                f"but {error}; {where}"
            ) from error
        if encoder.fingerprint != self.fingerprint:
            raise ValueError(
                f"{encoder.name} is not the one that this model was trained with: its fingerprint is {encoder.fingerprint}, "
                f"not {self.fingerprint}; {where}"
            )
        return encoder

    def encode(self, said: Sequence[Any], *, cut: bool = False, strict: bool = True) -> Tensor:
        """Texts as float32 (B, length, width), NaN after a text's end; ValueError for one that is too long unless ``cut``."""
        texts = texts_of(self.name, said, strict)
        found = torch.full((len(texts), self.length, self.width), torch.nan)
        different = list(dict.fromkeys(text for text in texts if text.strip()))
        if not different:
            return found
        encoder = self.encoder()
        if not cut:
            self._refuse_long(encoder, different)
        place = {text: i for i, text in enumerate(different)}
        rows = [i for i, text in enumerate(texts) if text in place]
        found[rows] = self.features(encoder, different, self.length)[[place[texts[i]] for i in rows]]
        return found

    def _refuse_long(self, encoder: TextFeatures, texts: Sequence[str]) -> None:
        for text, count in zip(texts, encoder.tokens(texts), strict=True):
            if count > self.length:
                raise too_long(count, "tokens", self.length, encoder.left(text, self.length))

    def features(self, encoder: TextFeatures, texts: Sequence[str], length: int) -> Tensor:
        """What the encoder makes of texts: (B, length, width) float32; ValueError if it is anything else."""
        made = encoder.encode(texts, length)
        shape = (len(texts), length, self.width)
        if tuple(made.shape) != shape or not made.is_floating_point():
            raise ValueError(f"{encoder.name} gave {made.dtype} of shape {tuple(made.shape)} where floats of {shape} belong")
        return made.float().cpu()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        names = ("name", "folder", "fingerprint", "length", "width")
        return {"kind": "encoded", **{name: getattr(self, name) for name in names}}
