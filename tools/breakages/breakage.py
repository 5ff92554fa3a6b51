"""What a breakage is."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Breakage"]


@dataclass(frozen=True)
class Breakage:
    """In ``file`` (below the package) ``old`` becomes ``new``; one of ``tests`` (names of test files) turns red."""

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
