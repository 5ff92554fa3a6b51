"""Random draws by key: what picture i gets at a place of a run is a function of (key, i) alone.

Not of the batch it is in, its neighbours, the order, the number of processes, or where a run was resumed: there is no
generator whose state has to travel.  Nor of the processor or the device: the numbers are the same everywhere, to the last
bit.  A *key* is a hash of words such as (seed, step, purpose).

How normals are drawn:

1. A tile of 32,768 values of a picture has a *stream*: a start A and an odd step G, 64 bits each, hashed from (key, index,
   tile).  A is one to one in the index, so pictures under one key never share a stream.
2. Word e of a stream is ``mix(A + G * R[e])`` with fixed random words R: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014),
   whose streams differ in their step too.  It gives two signed 32-bit numbers w.
3. ``z = heights[k] + f * slopes[k]``, f = float32(w), k the first 19 bits of f: the inverse of the normal distribution
   by straight lines over 1,024 pieces of each octave of the tails.  Symmetric, right to 5e-7, |z| up to 6.34.

Whole numbers wrap and single float32 products and sums are rounded in one way everywhere; nothing else is used.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from operator import index as as_int
from typing import TYPE_CHECKING, Any, overload

from ._inverse_normal import PIECE_BITS, lines, quantile
from ._lazy import torch
from .errors import is_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Keyed", "fill", "inverse_normal", "key", "normal", "uniform"]

_MASK64 = 0xFFFFFFFFFFFFFFFF
_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio: the step of SplitMix64
_TILE_STEP = 0xD1342543DE82EF95  # odd; its small multiples are no small numbers
_MIX = 0xD6E8FEB86659FD93  # a multiplier of Evensen's mixers
_TILE = 16384  # words of a stream: what is at work at once fits a processor's second cache
_DROP = 23 - PIECE_BITS  # bits of a float32 below its piece


def key(*words: int | str) -> int:
    """A 64-bit key from whole numbers and strings, the same on every machine; ``key(1, 2) != key(12)``."""
    for word in words:
        if not isinstance(word, str) and not is_whole(word):
            raise TypeError(f"a key is made of whole numbers and strings, but got {word!r}")
    words = tuple(word if isinstance(word, str) else as_int(word) for word in words)  # numpy's print otherwise
    return int.from_bytes(hashlib.blake2b(repr(words).encode(), digest_size=8).digest(), "little")


def fill(out: torch.Tensor, key: int, indices: Sequence[int]) -> torch.Tensor:
    """Fill ``out`` (B, *) in place with unit normals: row n depends on ``key``, ``indices[n]`` and its number of values alone.

    ``out`` must be float32 and contiguous.  The numbers are the same on every processor and device; they are made on
    ``out``'s own.  Keys and indices count modulo 2**64.  Returns ``out``.
    """
    if out.dtype != torch.float32 or not out.is_contiguous() or len(out) != len(indices):
        raise ValueError(
            f"noise is drawn into contiguous float32 memory with a row for each of {len(indices)} pictures, "
            f"but got {out.dtype} of shape {tuple(out.shape)} with strides {out.stride()}"
        )
    if out.device.type == "meta" or not out.numel():
        return out
    if out.device.type == "cpu":
        _fill_on_cpu(out.numpy().reshape(len(out), -1), key, indices)
    else:
        _fill_on_device(out.view(len(out), -1), key, indices)
    return out


def normal(key: int, indices: Sequence[int], shape: Sequence[int], device: torch.device | str = "cpu") -> torch.Tensor:
    """Unit normals, float32 of shape ``(len(indices), *shape)``, made on ``device``; see :func:`fill`."""
    return fill(torch.empty((len(indices), *shape), dtype=torch.float32, device=device), key, indices)


def uniform(key: int, indices: Sequence[int]) -> torch.Tensor:
    """One number strictly between 0 and 1 for each index, float64 of shape (B,) on the CPU, by integer hashing (SplitMix64)."""
    numbers = [((_splitmix(key + index & _MASK64) >> 12) + 0.5) * 2.0**-52 for index in indices]
    return torch.tensor(numbers, dtype=torch.float64, device="cpu")


def inverse_normal(p: torch.Tensor) -> torch.Tensor:
    """z with P(normal < z) = p, for p from 0 to 1: float64 of p's shape, on the CPU, the same bits on every processor."""
    given = p.detach().to("cpu", torch.float64)
    if not bool(((given >= 0.0) & (given <= 1.0)).all()):
        raise ValueError("the inverse of the normal distribution takes probabilities from 0 to 1")
    return torch.from_numpy(quantile(given.numpy()))


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

    def __call__(self, place: tuple[int, int], out: torch.Tensor | None = None) -> torch.Tensor:
        """Unit normals (B, *shape) for ``place``; into ``out`` where it is given (float32, contiguous)."""
        place_key = key(self.seed, "run", *place)
        return normal(place_key, self.indices, self.shape, self.device) if out is None else fill(out, place_key, self.indices)


# Streams.


@overload
def _splitmix(x: int) -> int: ...
@overload
def _splitmix(x: NDArray[np.uint64]) -> NDArray[np.uint64]: ...
def _splitmix(x: Any) -> Any:
    """A bijection of 64-bit words: one step of SplitMix64 and its output function."""
    x = x * _GOLDEN + _GOLDEN & _MASK64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _MASK64
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _MASK64
    return x ^ x >> 31


def _streams(key: int, indices: Sequence[int], tile: int = 0) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Starts and odd steps of a tile of each picture, (B, 1) each; a start is one to one in the index modulo 2**64."""
    import numpy as np

    key &= _MASK64
    first = _splitmix(key) + tile * _TILE_STEP
    places = [first + int(index) & _MASK64 for index in indices]
    if len(places) < 12:  # fewer calls for few pictures; the numbers are the same
        few = [_splitmix(place) for place in places]
        starts, steps = np.array(few, np.uint64), np.array([_splitmix(start ^ key) | 1 for start in few], np.uint64)
    else:
        starts = _splitmix(np.array(places, np.uint64))
        steps = _splitmix(starts ^ np.uint64(key)) | np.uint64(1)
    return starts[:, None], steps[:, None]


@cache
def _counters() -> NDArray[np.uint64]:
    """R, the words that every stream steps through."""
    import numpy as np

    return _splitmix(np.arange(_TILE, dtype=np.uint64))


# On the CPU.


class _Blocks(threading.local):
    """What fills a block of (rows, count) values; one for each thread, its memory and views made once."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, int], Callable[..., None]] = {}
        self.memory: tuple[NDArray[np.uint64], ...] = ()

    def __call__(self, rows: int, count: int) -> Callable[..., None]:
        import numpy as np

        block = self.known.get((rows, count))
        if block is None:
            self.memory = self.memory or tuple(np.empty((3, _TILE), np.uint64))
            if len(self.known) >= 64:
                self.known.clear()
            block = self.known[rows, count] = _block(self.memory, rows, count)
        return block


_blocks = _Blocks()


def _fill_on_cpu(out: NDArray[np.float32], key: int, indices: Sequence[int]) -> None:
    """Fill (B, n) in blocks: as many rows as make a tile, or one tile after the other of a row."""
    total, count = out.shape
    rows = max(1, 2 * _TILE // (count + count % 2))
    tiles = range(0, count, 2 * _TILE)
    streams = [_streams(key, indices, tile) for tile in range(len(tiles))]
    for n in range(0, total, rows):
        some = slice(n, n + rows)
        for first, (starts, steps) in zip(tiles, streams, strict=True):
            part = out[some, first : first + 2 * _TILE]
            _blocks(*part.shape)(part, starts[some], steps[some])


def _block(memory: Sequence[NDArray[np.uint64]], rows: int, count: int) -> Callable[..., None]:
    """What fills (rows, count) values, at most a tile, each row from its own stream; all but the result is in ``memory``."""
    import numpy as np

    half = (count + 1) // 2
    x, high = (part[: rows * half].reshape(rows, half) for part in memory[:2])
    f = memory[2].view(np.float32)[: rows * count].reshape(rows, count)
    top = memory[1].view(np.uint32)[: rows * count].reshape(rows, count)
    line = memory[0].view(np.float32)[: rows * count].reshape(rows, count)
    numbers, bits, counters = x.view("<i4")[:, :count], f.view(np.uint32), _counters()[:half]
    with torch.inference_mode(False):
        pieces, found = torch.from_numpy(top.view(np.int32).reshape(-1)), torch.from_numpy(line.reshape(-1))
        heights, slopes = (torch.from_numpy(part) for part in lines())
    mix, by_32, by_drop = np.uint64(_MIX), np.uint64(32), np.uint32(_DROP)
    multiply, add, shift, select = np.multiply, np.add, np.right_shift, torch.index_select

    def fill_block(out: NDArray[np.float32], starts: NDArray[np.uint64], steps: NDArray[np.uint64]) -> None:
        multiply(counters, steps, x)
        add(x, starts, x)
        shift(x, by_32, high)
        np.bitwise_xor(x, high, x)
        multiply(x, mix, x)
        np.copyto(f, numbers, "unsafe")  # to the nearest float32; x and high are free from here on
        shift(bits, by_drop, top)
        select(slopes, 0, pieces, out=found)
        multiply(f, line, f)
        select(heights, 0, pieces, out=found)
        add(f, line, out)

    return fill_block


# On another device: the same integers and the same two roundings.


@cache
def _constants(device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    import numpy as np

    with torch.inference_mode(False):
        counters, heights, slopes = (torch.from_numpy(part).to(device) for part in (_counters().view(np.int64), *lines()))
    return counters, heights, slopes


def _fill_on_device(out: torch.Tensor, key: int, indices: Sequence[int]) -> None:
    """Fill (B, n), a tile of all rows at a time; int64 holds what are unsigned words on the CPU."""
    import numpy as np

    counters, heights, slopes = _constants(out.device)
    for tile, first in enumerate(range(0, out.shape[1], 2 * _TILE)):
        part = out[:, first : first + 2 * _TILE]
        starts, steps = (torch.from_numpy(words.view(np.int64)).to(out.device) for words in _streams(key, indices, tile))
        x = counters[: (part.shape[1] + 1) // 2] * steps
        x += starts
        x ^= x >> 32 & 0xFFFFFFFF  # >> copies the sign
        x *= _MIX - (1 << 64)
        f = x.view(torch.int32)[:, : part.shape[1]].to(torch.float32)
        piece = f.view(torch.int32) >> _DROP & (1 << 9 + PIECE_BITS) - 1
        f *= slopes[piece]
        torch.add(f, heights[piece], out=part)
