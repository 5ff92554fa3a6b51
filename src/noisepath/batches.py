"""Work on many pictures in batches, which shrink where memory runs out.

What is made of a batch must not depend on how pictures are put together, as it does not in a run: then a batch that did not
fit is simply made again in two halves, and what is finished stays.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from ._lazy import torch

if TYPE_CHECKING:
    from torch import device as Device

__all__ = ["in_batches", "out_of_memory"]

T = TypeVar("T")


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
            warnings.warn(
                f"{min(size, count)} pictures at once did not fit into the memory of {device}: they are made {fits} at a time "
                f"(batch_size={fits} begins so)",
                stacklevel=4,
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
