"""Frozen text encoders: from texts to vectors that say what they mean, by a network that was trained elsewhere.

:class:`TextFeatures` is what is asked of one; :class:`TransformersEncoder` is T5 or CLIP from a folder on this machine.
Nothing is ever fetched.  Needs the extra ``transformers``, which is loaded when the first text is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch

from noisepath.asking.encoder_folder import KINDS, EncoderFolder, read_folder

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TextFeatures", "TransformersEncoder", "encoder_in", "encoder_of"]

AT_ONCE = 32
"""Texts that a network is given at once."""


@runtime_checkable
class TextFeatures(Protocol):
    """A frozen text encoder."""

    @property
    def name(self) -> str:
        """What errors call it."""

    @property
    def fingerprint(self) -> str:
        """Says which encoder it is: another one for any other numbers."""

    @property
    def width(self) -> int:
        """Of its vectors."""

    @property
    def length(self) -> int:
        """Most tokens of a text that it reads."""

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, those that begin and end every text among them."""

    def left(self, text: str, length: int) -> str:
        """What of a text is not read where ``length`` tokens are."""

    def encode(self, texts: Sequence[str], length: int | None = None) -> Tensor:
        """Vectors (B, length, width), float32 on the CPU: one for each token, NaN after a text's end.

        ``length``: the encoder's own if not given; a text with more tokens is cut to it.  A text's vectors do not depend on the
        other texts.
        """


class TransformersEncoder:
    """The encoder of a T5, or the text half of a CLIP, in a folder: its last hidden states.

    A text is never padded: those of a length are read together, so that no mask is needed and a text's vectors are its own.
    CLIP reads 77 tokens, of which the first and last stand for begin and end; T5 512, of which the last is the end.

    Raises FileNotFoundError and ValueError as :func:`noisepath.asking.encoder_folder.read_folder` does; tokenizer and weights
    are read when they are needed first, with a ValueError if they can't be, or if transformers is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.about: EncoderFolder = read_folder(folder)

    @property
    def folder(self) -> str:
        """Where it lies, from the root."""
        return str(self.about.path)

    @property
    def name(self) -> str:
        """What errors call it."""
        return f"the text encoder in {self.folder!r}"

    @property
    def fingerprint(self) -> str:
        """Says which encoder it is (:mod:`noisepath.asking.encoder_folder`)."""
        return self.about.fingerprint

    @property
    def width(self) -> int:
        """Of its vectors."""
        return self.about.width

    @property
    def length(self) -> int:
        """Most tokens of a text that it reads."""
        return self.about.length

    def tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has, those that begin and end every text among them."""
        counts: list[int] = []
        for start in range(0, len(texts), 1024):
            counts += map(len, self._tokenizer(list(texts[start : start + 1024]), verbose=False)["input_ids"])
        return counts

    def left(self, text: str, length: int) -> str:
        """What of a text is not read where ``length`` tokens are."""
        told = self._tokenizer(text, truncation=True, max_length=length, return_offsets_mapping=True)
        return text[max((end for _, end in told["offset_mapping"]), default=0) :].strip()

    @torch.no_grad()
    def encode(self, texts: Sequence[str], length: int | None = None) -> Tensor:
        """Vectors (B, length, width), float32, NaN after a text's end; what is longer is cut."""
        length = self.length if length is None else length
        found = torch.full((len(texts), length, self.width), torch.nan)
        if not texts:
            return found
        numbers = self._tokenizer(list(texts), truncation=True, max_length=length)["input_ids"]
        for rows in _alike([len(row) for row in numbers]):
            read = torch.tensor([numbers[i] for i in rows])
            found[rows, : read.shape[1]] = self._network(input_ids=read).last_hidden_state
        return found

    @cached_property
    def _tokenizer(self) -> Any:
        with self._loading("tokenizer") as library:
            tokenizer = library.AutoTokenizer.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)
        if not tokenizer.is_fast:
            raise ValueError(f"the tokenizer in {self.folder!r} can't say what a token stands for: save its tokenizer.json")
        return tokenizer

    @cached_property
    def _network(self) -> torch.nn.Module:
        with self._loading("weights") as library:
            model, told = getattr(library, KINDS[self.about.kind]).from_pretrained(
                self.folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, output_loading_info=True,
                attn_implementation="eager", dtype=torch.float32,
            )  # fmt: skip
        if missing := sorted(told["missing_keys"]):
            raise ValueError(f"the weights in {self.folder!r} are not whole: {len(missing)} missing ({missing[0]} ...)")
        if model.config.hidden_size != self.width:
            raise ValueError(f"{self.name} has vectors of {model.config.hidden_size}, but its config.json says {self.width}")
        network: torch.nn.Module = model.eval().requires_grad_(False)
        return network

    @contextmanager
    def _loading(self, what: str) -> Iterator[Any]:
        """The library, silent; what it has against a folder as a ValueError of one line."""
        try:
            library, logging = import_module("transformers"), import_module("transformers.utils.logging")
        except ImportError as error:
            raise ValueError(
                f"{self.name} needs transformers, which is not installed: pip install 'noisepath[transformers]'"
            ) from error
        level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield library
        except Exception as error:  # a damaged file ends in whatever its reader raises
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(f"can't load the {what} of {self.name}: {reason}") from error
        finally:
            logging.set_verbosity(level)
            if bar:
                logging.enable_progress_bar()


def encoder_in(folder: str | os.PathLike[str]) -> TransformersEncoder:
    """The encoder in a folder as it is now: read once in a process, however often it is asked for."""
    about = read_folder(folder)
    return _shared(str(about.path), about.fingerprint)


def encoder_of(given: str | os.PathLike[str] | TextFeatures) -> TextFeatures:
    """The encoder in a folder, or the one that was given."""
    if isinstance(given, str | os.PathLike):
        return encoder_in(given)
    if not isinstance(given, TextFeatures):
        raise ValueError(f"a text encoder is a folder, or all that asking.TextFeatures has, but is {given!r}")
    return given


@lru_cache(maxsize=2)
def _shared(folder: str, fingerprint: str) -> TransformersEncoder:
    return TransformersEncoder(folder)


def _alike(lengths: Sequence[int]) -> Iterator[list[int]]:
    """The places of equal lengths, some at once; those of length 0 are left out."""
    of: dict[int, list[int]] = {}
    for place, length in enumerate(lengths):
        of.setdefault(length, []).append(place)
    for length in sorted(of.keys() - {0}):
        for start in range(0, len(of[length]), AT_ONCE):
            yield of[length][start : start + AT_ONCE]
