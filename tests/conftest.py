"""What all tests share: one thread (the tests run side by side), named hypothesis settings, no network, measured margins."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

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


@pytest.fixture(scope="session", autouse=True)
def _no_trials() -> Iterator[Callable[..., list[float]]]:
    """No run measures the seconds of its steps; gives the function that does.

    The trial costs more steps than a run of two has, and what is chosen by it, a precision, is another on each machine.
    """
    from noisepath.training import run

    with pytest.MonkeyPatch.context() as patch:
        measure = run._seconds
        patch.setattr(run, "_seconds", lambda *args, **options: [0.01, 0.01, 0.01])
        yield measure


@pytest.fixture
def with_trials(_no_trials: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs of this test measure their steps as users' runs do."""
    from noisepath.training import run

    monkeypatch.setattr(run, "_seconds", _no_trials)


@pytest.fixture(scope="session")
def trained_seed() -> int:
    """The seed of every network whose outcome a test asserts; ``tools/margins.py`` varies it."""
    return int(os.environ.get("NOISEPATH_TRAINED_SEED", "0"))


class Margin:
    """Asserts that a figure of a trained network keeps to a bound, and notes both for ``tools/margins.py``."""

    def __init__(self, test: str) -> None:
        self.test = test

    def __call__(self, name: str, value: float, *, at_least: float | None = None, at_most: float | None = None) -> None:
        """``value`` is what was measured under ``name``; give one bound."""
        bound = at_least if at_least is not None else at_most
        assert bound is not None and (at_least is None or at_most is None), "give one bound"
        room = value - bound if at_least is not None else bound - value
        if notes := os.environ.get("NOISEPATH_MARGINS"):
            with Path(notes).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"test": self.test, "name": name, "value": value, "bound": bound, "room": room}) + "\n")
        assert room >= 0.0, f"{name} is {value:.6g}, but must be at {'least' if at_least is not None else 'most'} {bound:g}"


@pytest.fixture
def margin(request: pytest.FixtureRequest) -> Margin:
    """See :class:`Margin`; a test that takes it has the marker ``trained``."""
    if request.node.get_closest_marker("trained") is None:
        raise pytest.UsageError(f"{request.node.nodeid} measures a trained network, so it needs the marker 'trained'")
    return Margin(request.node.nodeid)
