"""Faults other than SIGKILL: each is done to the tiny run, and has a stated outcome.

Each gives what was wrong, or ``None``; those that need a small disk raise :class:`_faults.NoDisk` where none can be had.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

import noisepath.training.run as run_module
from _faults import Child, Scene, fingerprint, going_on, partly, reaches, refused, run, small_disk, spawn, start, wait
from noisepath.training.checkpoint import newest
from noisepath.training.record import read_run


def _stopped_at(scene: Scene, signum: int, group: bool, workers: int, at: int) -> str | None:
    """A polite signal after ``at`` steps: saved, the right exit code, and the run goes on to the same end."""
    out = scene.fresh()
    number = spawn(start(scene.data, out, "--workers", str(workers)))
    if not reaches(out, at, number):
        return "the run did not come to that step"
    (os.killpg if group else os.kill)(number, signum)
    began = time.monotonic()
    code = wait(number, 20)
    if code != 128 + signum:
        return f"exit code {code}"
    if time.monotonic() - began > 10:
        return "it took more than 10 s to stop"
    return scene.ends_well(out)


def _damaged(scene: Scene, damage: Callable[[Path], None], which: str) -> str | None:
    """A file of the newest checkpoint is damaged: named, passed over, and the run ends as it should."""
    out = partly(scene)
    folder = newest(out).folder
    damage(folder / which)
    code, told = run(going_on(out))
    if code:
        return f"ended with {code}: {told[-300:]}"
    if which not in told or "passed over" not in told:
        return f"the damaged file is not named: {told[-300:]}"
    wrong = [name for name, value in scene.truth.items() if fingerprint(out).get(name) != value]
    return f"other than the undisturbed run: {wrong}" if wrong else None


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _zeroed(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))


def _flipped(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(whole) * 2 // 3] ^= 16
    path.write_bytes(whole)


def _changed(scene: Scene, change: Callable[[Path], object], *words: str) -> str | None:
    """The pictures change between stop and resume: refused with what changed; allowed when asked for."""
    kept = scene.root / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(scene.data, kept, copy_function=shutil.copy2)
    out = partly(scene)
    try:
        change(scene.data)
        problem = refused(going_on(out), *words)
        if problem:
            return problem
        code, told = run(going_on(out, "--allow-data-change"))
        if code:
            return f"allowed, but ended with {code}: {told[-300:]}"
    finally:
        shutil.rmtree(scene.data)
        shutil.copytree(kept, scene.data, copy_function=shutil.copy2)
    return None


def _nan(scene: Scene, steps: range) -> Child:
    """A run whose loss is no number at some steps."""
    from noisepath.training.objective import Objective

    real = Objective.losses

    def spoilt(self: Objective, *args: Any, **kwargs: Any) -> Any:
        found = real(self, *args, **kwargs)
        return found._replace(weight=found.weight * torch.nan) if kwargs["step"] in steps and kwargs["total"] == 4 else found

    def child() -> object:
        Objective.losses = spoilt  # type: ignore[method-assign]
        return start(scene.data, scene.root / f"nan-{steps.start}-{steps.stop}")()

    return child


def _one_nan(scene: Scene) -> str | None:
    code, told = run(_nan(scene, range(7, 9)))
    out = scene.root / "nan-7-9"
    last = json.loads((out / "log.jsonl").read_text().splitlines()[-1])
    return None if code == 0 and last["skipped"] == 2 and "the step is skipped" in told else f"{code}, {last}: {told[-300:]}"


def _many_nans(scene: Scene) -> str | None:
    problem = refused(_nan(scene, range(12, 40)), "10 steps in a row", ".png", "the last good checkpoint is", "step-0000")
    out = scene.root / "nan-12-40"
    return problem or (None if json.loads((out / "diverged.json").read_text())["pictures"] else "the pictures are not listed")


def _becoming_full(scene: Scene) -> str | None:
    """A disk that becomes full: training goes on, the old checkpoint stands, exit code 3; with room again it ends well."""
    log = scene.root / "disk.log"
    with small_disk(scene, "size=24m") as disk:
        out, filler = disk / "run", disk / "filler"
        number = spawn(start(scene.data, out), log)
        if not reaches(out, 10, number):
            return f"did not come to step 10: {log.read_text()[-300:]}"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        code, told = wait(number), log.read_text()
        if code != 3 or "can't be written" not in told or "MB" not in told:
            return f"exit code {code}: {told[-400:]}"
        newest(out, read_run(out).identity)
        filler.unlink()
        return scene.ends_well(out)


def _full_from_the_start(scene: Scene) -> str | None:
    with small_disk(scene, "size=16k") as disk:
        code, told = run(start(scene.data, disk / "run"))
    return None if code in (2, 3) and "Traceback" not in told and "No space left" in told else f"{code}: {told[-300:]}"


def _read_only(scene: Scene) -> str | None:
    with small_disk(scene, "ro") as disk:
        return refused(start(scene.data, disk / "run"), "Read-only file system", "run")


def _two_at_once(scene: Scene) -> str | None:
    out = scene.fresh()
    tried = scene.root / "tried"

    def patient() -> object:
        """A run that waits at its fifth step until the others have been tried, a minute at most."""
        step, made = run_module.Trainer.step, itertools.count(1)

        def held(self: Any) -> Any:
            end = time.monotonic() + 60.0 * (next(made) == 5)
            while time.monotonic() < end and not tried.exists():
                time.sleep(0.01)
            return step(self)

        run_module.Trainer.step = held  # type: ignore[method-assign]
        return start(scene.data, out)()

    number = spawn(patient)
    if not reaches(out, 3, number):
        return "the first did not begin"
    problem = refused(going_on(out), "in use by process", str(number))
    problem = problem or refused(start(scene.data, out, "--overwrite"), "in use by process")
    tried.touch()
    if code := wait(number):
        return f"the first ended with {code}"
    return problem or scene.ends_well(out)


def _second_signal(scene: Scene) -> str | None:
    """Ctrl-C twice: the second ends the run at once, and the last checkpoint is whole."""
    out = scene.fresh()

    def slow() -> object:
        from noisepath.training import loop

        real = loop.save_checkpoint

        def late(*args: Any, **kwargs: Any) -> Any:
            if args[1] > 20:
                time.sleep(30)
            return real(*args, **kwargs)

        loop.save_checkpoint = late
        return start(scene.data, out)()

    number = spawn(slow)
    if not reaches(out, 18, number):
        return "did not come to step 18"
    os.kill(number, signal.SIGINT)
    time.sleep(1.0)
    os.kill(number, signal.SIGINT)
    code = wait(number, 5)
    return scene.ends_well(out) if code == 130 else f"exit code {code}"


def _broken_pictures_on_the_way(scene: Scene) -> str | None:
    """What only people look at fails: training goes on, with a warning."""
    out = scene.fresh()

    def child() -> object:
        from noisepath import plots

        def fail(*args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("no fonts")

        plots.save_grid = plots.loss_curve = fail
        return start(scene.data, out)()

    code, told = run(child)
    if code or "no fonts; training goes on" not in told:
        return f"{code}: {told[-300:]}"
    return scene.ends_well(out)


def _out_of_memory(scene: Scene) -> str | None:
    out = scene.fresh()

    def child() -> object:
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + 400 * 2**20,) * 2)
        return start(scene.data, out, "--batch-size", "4096", "--accumulate", "1", "--channels", "64", "64")()

    return refused(child, "out of memory", "--accumulate")


def _foreign_checkpoint(scene: Scene) -> str | None:
    """A newer checkpoint of another run lies in the folder: named, passed over, and not removed."""
    out, other = partly(scene), scene.fresh()
    code, told = run(start(scene.data, other, "--seed", "1"))
    if code:
        return told[-300:]
    last = newest(other).folder
    shutil.copytree(last, out / "checkpoints" / "step-000999")
    code, told = run(going_on(out))
    if code or "belongs to another run" not in told:
        return f"{code}: {told[-300:]}"
    if not (out / "checkpoints" / "step-000999" / "config.json").exists():
        return "it was removed"
    shutil.rmtree(out / "checkpoints" / "step-000999")
    return scene.ends_well(out)


def others(scene: Scene) -> Iterator[tuple[str, Callable[[], str | None]]]:
    """Every other fault by name."""
    term, interrupt = signal.SIGTERM, signal.SIGINT
    yield "SIGTERM to the process", lambda: _stopped_at(scene, term, False, 0, 10)
    yield "SIGINT to the process", lambda: _stopped_at(scene, interrupt, False, 0, 10)
    yield "SIGTERM to the group, 2 workers", lambda: _stopped_at(scene, term, True, 2, 10)
    yield "SIGINT to the group, 2 workers", lambda: _stopped_at(scene, interrupt, True, 2, 10)
    yield "SIGTERM at the first step", lambda: _stopped_at(scene, term, False, 0, 1)
    yield "SIGINT twice", lambda: _second_signal(scene)
    names = ("model.safetensors", "network.safetensors", "optimizer.safetensors", "state.json", "manifest.json", "config.json")
    for name in names[:5]:
        yield f"{name} cut short", lambda name=name: _damaged(scene, _cut, name)
    for name in names[:3]:
        yield f"{name} half zeroed", lambda name=name: _damaged(scene, _zeroed, name)
    for name in ("model-long.safetensors", "network.safetensors", "state.json", "config.json"):
        yield f"a bit flipped in {name}", lambda name=name: _damaged(scene, _flipped, name)
    yield "an empty file", lambda: _damaged(scene, _empty, "network.safetensors")
    yield "a file gone", lambda: _damaged(scene, Path.unlink, "optimizer.safetensors")
    yield "the disk becomes full", lambda: _becoming_full(scene)
    yield "the disk is full from the start", lambda: _full_from_the_start(scene)
    yield "a read-only disk", lambda: _read_only(scene)
    yield (
        "a picture added",
        lambda: _changed(scene, lambda d: shutil.copy(d / "dark/000.png", d / "dark/zzz.png"), "+1 added", "zzz.png"),
    )
    yield "a picture removed", lambda: _changed(scene, lambda d: (d / "dark/000.png").unlink(), "-1 removed", "000.png")
    yield (
        "a picture changed",
        lambda: _changed(scene, lambda d: shutil.copy(d / "light/001.png", d / "dark/000.png"), "~1 changed"),
    )
    yield "two batches with NaN", lambda: _one_nan(scene)
    yield "NaN for ever", lambda: _many_nans(scene)
    yield "two runs in one folder", lambda: _two_at_once(scene)
    yield "pictures on the way fail", lambda: _broken_pictures_on_the_way(scene)
    yield "out of memory", lambda: _out_of_memory(scene)
    yield "a checkpoint of another run", lambda: _foreign_checkpoint(scene)
    yield "no checkpoint at all", lambda: refused(going_on(_without_checkpoints(scene)), "holds no checkpoint")
    yield "all checkpoints damaged", lambda: refused(going_on(_all_damaged(scene)), "can be used", "damaged")
    yield "resuming what is no run", lambda: refused(going_on(scene.data), "holds no run")
    yield "a file where the folder should be", lambda: refused(start(scene.data, _a_file(scene)), "is a file")


def _without_checkpoints(scene: Scene) -> Path:
    out = partly(scene)
    shutil.rmtree(out / "checkpoints")
    return out


def _all_damaged(scene: Scene) -> Path:
    out = partly(scene)
    for path in (out / "checkpoints").glob("*/network.safetensors"):
        _flipped(path)
    return out


def _a_file(scene: Scene) -> Path:
    path = scene.fresh()
    path.write_text("mine")
    return path
