"""Random draws by key: what picture i gets at a place of a run is a function of (key, i) alone.

Not of the batch it is in, its neighbours, the order, the number of processes, or where a run was resumed: there is no
generator whose state has to travel.  A *key* is a hash of words such as (seed, step, purpose).  Pictures under one key
get different streams, always: the map from index to stream is one to one for indices below 2**32.

Normal draws are made in float32, in contiguous memory, one picture at a time and on the CPU, because torch gives other
numbers for other batch sizes, memory formats and devices.  Drawing on an accelerator has to be asked for, and gives
that device's own numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from operator import index as as_int

from ._lazy import torch
from .errors import is_whole

__all__ = ["Keyed", "fill", "key", "normal", "uniform"]

_MASK32 = 0xFFFFFFFF
_MASK64 = 0xFFFFFFFFFFFFFFFF


def key(*words: int | str) -> int:
    """A 64-bit key from whole numbers and strings, the same on every machine; ``key(1, 2) != key(12)``."""
    for word in words:
        if not isinstance(word, str) and not is_whole(word):
            raise TypeError(f"a key is made of whole numbers and strings, but got {word!r}")
    words = tuple(word if isinstance(word, str) else as_int(word) for word in words)  # numpy's print otherwise
    return int.from_bytes(hashlib.blake2b(repr(words).encode(), digest_size=8).digest(), "little")


def _stream(key: int, index: int) -> int:
    """The 32-bit seed of picture ``index``: one to one in ``index`` for a given key (torch's CPU engine reads 32 bits)."""
    x = (index + key) & _MASK32 ^ (key >> 32 & _MASK32)
    x = (x ^ x >> 16) * 0x85EBCA6B & _MASK32  # MurmurHash3's finaliser, a bijection of 32-bit words
    x = (x ^ x >> 13) * 0xC2B2AE35 & _MASK32
    return x ^ x >> 16


def fill(out: torch.Tensor, key: int, indices: Sequence[int]) -> torch.Tensor:
    """Fill ``out`` (B, *) in place with unit normals: row n depends on ``key``, ``indices[n]`` and the row's shape alone.

    ``out`` must be float32 and contiguous; on the CPU the numbers are the same everywhere, on another device they are
    that device's own.  Returns ``out``.
    """
    if out.dtype != torch.float32 or not out.is_contiguous() or len(out) != len(indices):
        raise ValueError(
            f"noise is drawn into contiguous float32 memory with a row for each of {len(indices)} pictures, "
            f"but got {out.dtype} of shape {tuple(out.shape)} with strides {out.stride()}"
        )
    generator = torch.Generator(out.device)
    for row, index in zip(out.unbind(0), indices, strict=True):
        generator.manual_seed(_stream(key, index))
        row.normal_(generator=generator)
    return out


def normal(
    key: int, indices: Sequence[int], shape: Sequence[int], device: torch.device | str = "cpu", draw_on: str = "cpu"
) -> torch.Tensor:
    """Unit normals, float32 of shape ``(len(indices), *shape)``, on ``device``; see :func:`fill`.

    ``draw_on`` is where they are made: "cpu" for numbers that are the same everywhere, or an accelerator for speed.
    """
    return fill(torch.empty((len(indices), *shape), dtype=torch.float32, device=draw_on), key, indices).to(device)


def uniform(key: int, indices: Sequence[int]) -> torch.Tensor:
    """One number strictly between 0 and 1 for each index, float64 of shape (B,), by integer hashing (SplitMix64)."""
    hashed = [(_splitmix(key + index) >> 11) + 0.5 for index in indices]
    return torch.tensor(hashed, dtype=torch.float64, device="cpu") * 2.0**-53


def _splitmix(x: int) -> int:
    x = (x * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & _MASK64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _MASK64
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _MASK64
    return x ^ x >> 31


@dataclass(frozen=True)
class Keyed:
    """A run's source of noise: ``source(place)`` is the draw of every picture at a place ``(step, stage)`` of the run.

    ``indices`` are the pictures' own numbers; ``shape`` is one picture's.  Any callable of this kind can stand in: draws
    that were made elsewhere are handed to a run as ``draws.__getitem__``.
    """

    seed: int
    indices: Sequence[int]
    shape: Sequence[int]
    device: str = "cpu"
    draw_on: str = "cpu"

    def __call__(self, place: tuple[int, int], out: torch.Tensor | None = None) -> torch.Tensor:
        """Unit normals (B, *shape) for ``place``; into ``out`` where it is given (float32, contiguous)."""
        place_key = key(self.seed, "run", *place)
        if out is not None and out.device == torch.device(self.draw_on):
            return fill(out, place_key, self.indices)
        drawn = normal(place_key, self.indices, self.shape, self.device, self.draw_on)
        return drawn if out is None else out.copy_(drawn)
