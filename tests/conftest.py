"""What all tests share: one thread (the tests run side by side), named hypothesis settings, no network."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# The examples are the same in every run: a law that fails is seen by everyone, and no test is slow by luck.
settings.register_profile("noisepath", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("noisepath")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing here needs the network; a test that reaches for it fails."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a test tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield
