"""Work on many pictures in batches, which shrink where memory runs out.

What is made of a batch must not depend on how pictures are put together, as it does not in a run: then a batch that did not
fit is simply made again in two halves, and what is finished stays.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ._lazy import torch
from .errors import warn
from .modules import modules_in

if TYPE_CHECKING:
    from torch import device as Device

__all__ = ["fitting", "free_memory", "in_batches", "out_of_memory"]

T = TypeVar("T")

SHARE = 0.5
"""Of the machine's free memory, what a batch may need by the estimate of :func:`fitting`."""
COPIES = 16
"""Tensors of a network's widest layer, and of the states, that are taken to be alive at once."""


def fitting(network: object, shape: Sequence[int], dtype: torch.dtype, device: Device) -> int:
    """How many samples of ``shape`` (C, *) surely fit into a CPU's free memory at once, one at least.

    A CPU's allocator does not say that memory runs out: the system ends the process.  So a batch is bounded beforehand, by
    what would be alive if the widest layer of the network were as large as the sample in its other dimensions, which is more
    than networks need.  Elsewhere there is no bound: what does not fit is halved (:func:`in_batches`).
    """
    if device.type != "cpu":
        return 2**62
    parameters = (p for module in modules_in(network) for p in module.parameters())
    widest = max((len(p) for p in parameters if p.ndim > 1), default=0)
    wide = 1 + widest / (shape[0] if shape else 1)
    each = max(1, math.prod(shape)) * dtype.itemsize * COPIES * wide
    return max(1, int(SHARE * free_memory() / each))


def free_memory() -> int:
    """Bytes of memory that this process may still take: the machine's, or the container's; 2 GiB where nobody knows."""
    found = [_machine_free(), *(_container_free(*files) for files in _LIMITS)]
    known = [value for value in found if value is not None]
    return max(0, min(known)) if known else 2 * 2**30


_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""What a container may use, and what it uses."""


def _machine_free() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
        return None
    except (OSError, ValueError, IndexError):
        pass
    try:  # elsewhere half of the machine's
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):
        return None


def _container_free(limit: str, usage: str) -> int | None:
    try:
        return int(Path(limit).read_text(encoding="ascii")) - int(Path(usage).read_text(encoding="ascii"))
    except (OSError, ValueError):  # no container, or "max"
        return None



def in_batches(
    count: int, size: int, make: Callable[[slice], T], device: Device, shrunk: Callable[[int], None] | None = None
) -> Iterator[T]:
    """``make(rows)`` for each batch of at most ``size`` of ``count`` pictures, in order.

    A batch that is out of memory is made again with half the pictures, and so are those after it; one warning says with how
    many it went on.  Of a single picture the error is raised as it came.  ``shrunk`` is told each time how many batches are
    left.
    """
    first, fits, warned = 0, size, False
    while first < count:
        rows = slice(first, min(first + fits, count))
        made: list[T] = []
        if not _made(made, make, rows):
            fits = (rows.stop - rows.start + 1) // 2
            _release(device)
            if shrunk is not None:
                shrunk(-(-(count - first) // fits))
            continue
        if fits < size and not warned:
            warned = True
            warn(
                f"{min(size, count)} pictures at once did not fit into the memory of {device}: they are made {fits} at a time "
                f"(batch_size={fits} begins so)"
            )
        first = rows.stop
        yield made.pop()


def _made(into: list[T], make: Callable[[slice], T], rows: slice) -> bool:
    """Whether a batch fitted.  When this returns, nothing holds what a failed attempt had made."""
    try:
        into.append(make(rows))
    except RuntimeError as error:
        if rows.stop - rows.start == 1 or not out_of_memory(error):
            raise
        return False
    return True


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the CPU's allocator, has no memory left."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in ("out of memory", "can't allocate memory", "not enough memory")
    )


def _release(device: Device) -> None:
    """Give cached memory back to the device, where it has a cache."""
    empty = getattr(getattr(torch, device.type, None), "empty_cache", None)
    if empty is not None:
        empty()
