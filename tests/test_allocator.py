"""Memory that a process keeps: counted in page faults, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from noisepath.training import allocator

COUNT = """
import ctypes, resource, sys
from noisepath.training.allocator import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "kept" else None
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        blocks = [libc.malloc(2**24) for _ in range(8)]
        for block in blocks:
            ctypes.memset(block, 1, 2**24)
        for block in reversed(blocks):
            libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(kept, faults())
"""


def _counted(how: str) -> tuple[str, int]:
    plain = {name: value for name, value in os.environ.items() if name not in allocator.OWN}
    command = [sys.executable, "-c", COUNT, how]
    done = subprocess.run(command, env=plain, capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone")
def test_freed_memory_is_kept_for_the_next_step() -> None:
    """Eight blocks of 16 MiB, five times: 4,096 pages each are touched anew, unless they are kept from the first time."""
    kept, few = _counted("kept")
    if kept == "False":
        pytest.skip("another C library")
    assert _counted("as it is")[1] > 20_000 > 5_000 > few


def test_what_a_user_has_settled_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000")
    allocator.keep_freed_memory.cache_clear()
    assert not allocator.keep_freed_memory()
    allocator.keep_freed_memory.cache_clear()


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    allocator.keep_freed_memory.cache_clear()
    assert not allocator.keep_freed_memory()
    allocator.keep_freed_memory.cache_clear()
