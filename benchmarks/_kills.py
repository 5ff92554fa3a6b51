"""SIGKILL, at random moments and at each single point of a save: what is left is whole, and the run ends as if undisturbed."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from _faults import EVERY, Scene, ended_within, going_on, run, spawn, start, wait
from noisepath.training.checkpoint import newest
from noisepath.training.record import read_run


def killed(scene: Scene, chance: random.Random, workers: int) -> tuple[int, str | None]:
    """One run, killed at random moments until it comes to its end by itself: how often, and what is wrong."""
    out, kills = scene.fresh(), 0
    more = ["--workers", str(workers)]
    while True:
        begun = (out / "run.toml").exists()
        number = spawn(going_on(out) if begun else start(scene.data, out, *more))
        # later kills come later, so that every run ends some time, also on a machine that has become slower
        patience = chance.uniform(0.0, scene.seconds * (1.0 if kills == 0 else 1.6 + 0.2 * kills))
        code = ended_within(number, patience)
        if code is None:
            os.killpg(number, signal.SIGKILL)
            wait(number)
            kills += 1
            if (out / "run.toml").exists() and (problem := without_a_checkpoint(out)):
                return kills, problem
            continue
        if code:
            return kills, f"ended with {code}"
        if kills:
            problem = scene.ends_well(out)
            shutil.rmtree(out)
            return kills, problem
        shutil.rmtree(out)


def without_a_checkpoint(out: Path) -> str | None:
    """What is wrong if a run has no whole checkpoint."""
    try:
        newest(out, read_run(out).identity)
    except (ValueError, OSError) as error:
        return f"after a kill there is no whole checkpoint: {error}"
    return None


@contextlib.contextmanager
def deadly(place: int, after: bool, count: list[str], first_step: str) -> Iterator[None]:
    """SIGKILL before (or after) the ``place``-th write, fsync, rename or removal from the saving of ``first_step`` on.

    A write that is cut short writes its first half.  ``count`` collects the names of what was reached.
    """
    real: dict[str, Any] = {
        "fsync": os.fsync, "replace": os.replace, "unlink": Path.unlink, "rmtree": shutil.rmtree,
        "write_bytes": Path.write_bytes, "write_text": Path.write_text,
    }  # fmt: skip
    armed = [False]

    def reached(name: str, do: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        if not armed[0]:
            return do()
        mine = len(count) == place
        count.append(name)
        if mine and not after:
            if half is not None:
                half()
            os.kill(os.getpid(), signal.SIGKILL)
        result = do()
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    def write_bytes(path: Path, data: bytes) -> Any:
        armed[0] = armed[0] or first_step in path.parent.name
        return reached(
            "write", lambda: real["write_bytes"](path, data), lambda: real["write_bytes"](path, data[: len(data) // 2])
        )

    def write_text(path: Path, data: str, **options: Any) -> Any:
        half = lambda: real["write_text"](path, data[: len(data) // 2], **options)  # noqa: E731
        return reached("write", lambda: real["write_text"](path, data, **options), half)

    os.fsync = lambda handle: reached("fsync", lambda: real["fsync"](handle))
    os.replace = lambda a, b: reached("rename", lambda: real["replace"](a, b))  # type: ignore[assignment]
    shutil.rmtree = lambda *a, **k: reached("remove", lambda: real["rmtree"](*a, **k))  # type: ignore[assignment]
    Path.write_bytes, Path.write_text = write_bytes, write_text  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        os.fsync, os.replace, shutil.rmtree = real["fsync"], real["replace"], real["rmtree"]
        Path.write_bytes, Path.write_text = real["write_bytes"], real["write_text"]  # type: ignore[method-assign]


def writes(
    scene: Scene, places: list[int] | None = None, sides: tuple[bool, ...] = (False, True)
) -> Iterator[tuple[str, str | None]]:
    """Each point of the third save and what follows it (the oldest checkpoint goes): its name, and what was wrong.

    ``sides``: whether the kill comes after the point (True) or before it.
    """
    for place in places if places is not None else range(60):
        for after in sides:
            out, reached = scene.fresh(), list[str]()

            def child(place: int = place, after: bool = after, out: Path = out, reached: list[str] = reached) -> object:
                with deadly(place, after, reached, f"step-{2 * EVERY:06d}"):
                    return start(scene.data, out)()

            code, told = run(child)
            if code == 0:  # the run has fewer points than that
                shutil.rmtree(out)
                return
            name = f"point {place} {'after' if after else 'before'}"
            if code != -signal.SIGKILL:
                yield name, f"ended with {code}: {told[-300:]}"
                continue
            yield name, without_a_checkpoint(out) or scene.ends_well(out)
            shutil.rmtree(out)
            if place > 40 and after:
                return  # well into the next save
