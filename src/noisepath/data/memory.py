"""Decoded pictures, kept so that each is decoded once; worker processes that were forked fill the same memory.

The memory is an anonymous mapping, not a file under ``/dev/shm``, which is small in containers or not there at all.  A
process that is started anew instead of forked has a memory of its own; what is shown does not depend on it.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["Memory", "affordable", "machine_memory"]

SHARE = 0.25
"""Part of the machine's memory that pictures may fill."""


class Memory:
    """Room for ``count`` pictures of one shape, and notes on each."""

    def __init__(self, count: int, shape: tuple[int, int, int], dtype: DTypeLike) -> None:
        self.count, self.shape, self.dtype = count, shape, np.dtype(dtype)
        self.held: NDArray[np.uint8] = _shared((count,), np.uint8)
        self.greyed: NDArray[np.uint8] = _shared((count,), np.uint8)
        """1 for a colour picture that was brought to grey."""
        size = count * int(np.prod(shape)) * self.dtype.itemsize
        self.pictures: NDArray[Any] | None = _shared((count, *shape), dtype) if affordable(size) else None
        self.bad: dict[int, str] = {}
        """Why a picture can't be read, as far as this process knows."""

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.shape))
        return f"Memory({int(self.held.sum()):,} of {self.count:,} pictures of {size}, {self.dtype})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Memory, (self.count, self.shape, self.dtype)

    def keep(self, row: int, values: NDArray[Any]) -> None:
        """Remember a picture (C, H, W), if there is room and it has this memory's kind of numbers."""
        if self.pictures is not None and np.can_cast(values.dtype, self.dtype):
            self.pictures[row] = values
            self.held[row] = 1


def affordable(size: int) -> bool:
    """Whether so many bytes of pictures may be held in memory."""
    return size <= SHARE * machine_memory()


def machine_memory() -> int:
    """Bytes of memory of the machine, or of the container if it may use less; 4 GiB where nobody says."""
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        whole = 4 * 2**30
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            whole = min(whole, int(Path(limit).read_text()))
        except (OSError, ValueError):
            continue
    return whole


def _shared(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Zeros in memory that forked processes share; pages that nobody has written to cost nothing."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(mmap.mmap(-1, max(1, size)), dtype, count=int(np.prod(shape))).reshape(shape)
