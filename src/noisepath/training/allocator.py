"""The memory of a training step on a CPU, kept for the next one.

A step's tensors are large, and the C library gives such blocks back to the system as they are freed: the next step asks for the
same again, page by page.  With a network of 3 million parameters and 64 pictures that is 20,000 page faults in each step.

It is a setting of the whole process, so the command makes it and a library call never does; a program of one's own may.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

__all__ = ["keep_freed_memory"]

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""Numbers of mallopt(3)."""
LARGEST = 32 * 2**20
"""Bytes from which on a block is the system's again when it is freed: the most that the C library takes."""
SETTINGS = {TRIM_THRESHOLD: 2**31 - 1, TOP_PAD: 64 * 2**20, MMAP_THRESHOLD: LARGEST}
OWN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")
"""Variables by which a user has settled this already."""


@cache
def keep_freed_memory() -> bool:
    """Let this process keep what it frees, up to its peak, and say whether that was done: with glibc (Linux) alone."""
    if not sys.platform.startswith("linux") or any(name in os.environ for name in OWN):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all([mallopt(ctypes.c_int(name), ctypes.c_int(value)) == 1 for name, value in SETTINGS.items()])
