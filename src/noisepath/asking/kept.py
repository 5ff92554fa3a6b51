"""What a frozen encoder makes of all captions: computed once, kept on disk, and read a batch at a time.

    FOLDER/<key>/features.safetensors       features (all tokens, width) float16, one caption after another
                                            starts (captions + 1,) int64: where each begins in them
                                            order (captions,) int64: their places among the sorted captions
    FOLDER/<key>/manifest.json              length and SHA-256 of the file (:mod:`noisepath.files`)

The key is a hash of the encoder's fingerprint, the lengths and the captions.  Each caption is kept once, however many pictures
have it, and without what is after its end.  float16 halves what is kept and read; it rounds by 1 in 2048 at most, far below
what training can see.  A prompt, which is not kept, is not rounded.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch

from noisepath.asking.encoded import EncodedText
from noisepath.files import clear_leftovers, remove_folder, verify, write_folder

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Kept", "Rows", "clear_kept", "kept"]

FILE = "features.safetensors"
AT_ONCE = 64
"""Captions that are encoded and written at once."""


class Rows(Protocol):
    """Something that is looked up by a tensor of pictures' numbers (B,), and gives (B, ...)."""

    def __getitem__(self, rows: Tensor, /) -> Tensor: ...


class Kept:
    """The vectors of pictures' captions, of which only those asked for are in memory."""

    def __init__(self, path: Path, said: Sequence[str | None], captions: Sequence[str], length: int, width: int) -> None:
        from safetensors import safe_open

        self.length, self.width = length, width
        self._file = cast(Any, safe_open(path, framework="pt"))
        place = {captions[number]: i for i, number in enumerate(self._file.get_tensor("order").tolist())}
        self.places = torch.tensor([place.get(text or "", -1) for text in said], dtype=torch.int64)
        self._starts: list[int] = self._file.get_tensor("starts").tolist()
        self._features = self._file.get_slice("features")

    def __getitem__(self, rows: Tensor) -> Tensor:
        """(B,) numbers of pictures -> (B, length, width) float32, NaN after a caption's end and where there is none."""
        found = torch.full((len(rows), self.length, self.width), torch.nan)
        for i, place in enumerate(self.places[rows].tolist()):
            if place >= 0:
                start, end = self._starts[place], self._starts[place + 1]
                found[i, : end - start] = self._features[start:end].float()
        return found


def kept(entry: EncodedText, said: Sequence[str | None], folder: Path, told: Callable[[int], None] | None = None) -> Kept:
    """The vectors of what each picture says, from the folder; made first if they are not there whole.

    Args:
        entry: how captions are read; its encoder is opened only where there is something to be read.
        said: a caption for each picture; None or an empty one says nothing.
        folder: what else lies in it of other captions or encoders is removed.
        told: is told the number of captions, now and then, while they are encoded.

    Raises:
        OSError: they can't be written.
        ValueError: the encoder can't be opened, or gives what is no number in float16.
    """
    captions = sorted({text for text in said if text and text.strip()})
    key = _key(entry, captions)
    whole = _is_whole(folder / key)
    if not whole:
        _write(entry, captions, folder / key, told)
    clear_kept(folder, but=key)
    return Kept(folder / key / FILE, said, captions, entry.length, entry.width)


def clear_kept(folder: Path, but: str = "") -> None:
    """Remove what was kept in a folder, also half, and nothing else."""
    clear_leftovers(folder)
    if folder.is_dir():
        for path in folder.iterdir():
            if path.is_dir() and re.fullmatch("[0-9a-f]{32}", path.name) and path.name != but:
                remove_folder(path)


def _key(entry: EncodedText, captions: Sequence[str]) -> str:
    told = json.dumps(["features 1", entry.fingerprint, entry.length, entry.width, list(captions)])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def _is_whole(folder: Path) -> bool:
    """Whether it is there as it was written; what is there otherwise is removed."""
    if not folder.exists():
        return False
    try:
        verify(folder)
    except ValueError:
        remove_folder(folder)
        return False
    return True


def _write(entry: EncodedText, captions: Sequence[str], folder: Path, told: Callable[[int], None] | None) -> None:
    """Captions of like lengths one after another; no more than some are in memory."""
    encoder = entry.encoder()
    counts = [min(count, entry.length) for count in encoder.tokens(captions)]
    order = sorted(range(len(captions)), key=counts.__getitem__)
    starts = [0, *accumulate(counts[number] for number in order)]
    with write_folder(folder, encoder=entry.fingerprint) as part, (part / FILE).open("wb") as file:
        file.write(_header(starts, entry.width))
        for whole in (starts, order):
            file.write(torch.tensor(whole, dtype=torch.int64).numpy().astype("<i8").tobytes())
        for numbers in _some(order):
            longest = max(1, *(counts[number] for number in numbers))
            made = entry.features(encoder, [captions[number] for number in numbers], longest)
            for row, number in zip(made.half(), numbers, strict=True):
                caption = row[: counts[number]]
                if not torch.isfinite(caption).all():
                    raise ValueError(f"{encoder.name} gives no number that float16 holds for {captions[number][:60]!r}")
                file.write(caption.numpy().astype("<f2").tobytes())
            if told is not None:
                told(len(numbers))


def _some(order: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(order), AT_ONCE):
        yield order[start : start + AT_ONCE]


def _header(starts: Sequence[int], width: int) -> bytes:
    """That of a safetensors file, which is written piece by piece: its length, and where each tensor lies after it."""
    sizes = {"starts": ("I64", [len(starts)], 8), "order": ("I64", [len(starts) - 1], 8)}
    sizes["features"] = ("F16", [starts[-1], width], 2)
    tensors, place = {}, 0
    for name, (kind, shape, each) in sizes.items():
        end = place + each * prod(shape)
        tensors[name] = {"dtype": kind, "shape": shape, "data_offsets": [place, end]}
        place = end
    told = json.dumps(tensors).encode()
    told += b" " * (-len(told) % 8)
    return len(told).to_bytes(8, "little") + told
