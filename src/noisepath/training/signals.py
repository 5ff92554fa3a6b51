"""Ctrl-C and SIGTERM end a run after the step that is being made; a second one ends it at once.

Outside a run SIGTERM is made to end a program as Ctrl-C does: by an exception, so that nothing is left half done.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupted", "Polite", "polite", "terminable"]


class Interrupted(KeyboardInterrupt):
    """A program was asked to end by a signal; a run has saved what it had."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum


class Polite:
    """``signum`` is the signal that has come, or 0."""

    signum = 0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Remember the first signal; leave at the second."""
        if self.signum:
            os._exit(128 + signum)
        self.signum = signum


@contextmanager
def polite() -> Iterator[Polite]:
    """While this lasts, SIGINT and SIGTERM are remembered instead of obeyed (in the main thread; elsewhere nothing changes)."""
    flag = Polite()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = {number: signal.signal(number, flag) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def terminable() -> Iterator[None]:
    """While this lasts, SIGTERM raises :class:`Interrupted` (in the main thread; elsewhere nothing changes)."""

    def end(signum: int, frame: FrameType | None) -> None:
        raise Interrupted(signum, "stopped")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
