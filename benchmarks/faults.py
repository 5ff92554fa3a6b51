"""A run that is killed, starved, damaged and disturbed: is anything lost, and does it end as if nothing had happened?

    python benchmarks/faults.py kills [--runs 100] [--workers 0 2]   SIGKILL at random moments, resumed until the end
    python benchmarks/faults.py writes       SIGKILL before and after each single write, fsync, rename and removal of a save
    python benchmarks/faults.py others       signals, full disks, damaged files, changed data, NaN, two runs in a folder ...
    python benchmarks/faults.py              all of it

A tiny run (8 x 8 pictures, 40 steps, a checkpoint each 5) is made undisturbed once; afterwards every disturbed one must
end with the same weights, averages and optimizer to the bit, and the same log but for its times.  Runs are children of a
process that has torch loaded already, each in its own process group.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

import noisepath.training.run as run_module
from noisepath.cli import main as noisepath
from noisepath.training.checkpoint import newest
from noisepath.training.record import read_run

STEPS, EVERY = 40, 5
LINE_TIMES = ("pictures_per_s", "seconds")
RECIPE = [
    "--channels",
    "8",
    "--blocks",
    "1",
    "--attention",
    "0",
    "--batch-size",
    "4",
    "--warmup",
    "0",
    "--precision",
    "float32",
]
SAID = [
    *RECIPE, "--steps", str(STEPS), "--save-every", str(EVERY), "--log-every", "3", "--sample-every", "40",
    "--no-evaluate", "--no-progress",
]  # fmt: skip
Child = Callable[[], object]


def pictures(folder: Path, count: int = 120) -> Path:
    """Small pictures in two classes."""
    rng = np.random.default_rng(0)
    for i in range(count):
        path = folder / ("light" if i % 2 else "dark") / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(128 * (i % 2), 128 + 127 * (i % 2), (8, 8), dtype=np.uint8)).save(path)
    return folder


def start(data: Path, out: Path, *more: str) -> Child:
    """The command that begins the tiny run."""
    return lambda: noisepath(["train", "--data", str(data), "--out", str(out), *SAID, *more])


def going_on(out: Path, *more: str) -> Child:
    """The command that goes on with it."""
    return lambda: noisepath(["train", "--resume", str(out), "--no-evaluate", "--no-progress", *more])


def spawn(child: Child, log: Path | None = None) -> int:
    """Run ``child`` in a process (group) of its own; gives its number."""
    number = os.fork()
    if number:
        return number
    code = 70
    try:
        os.setpgid(0, 0)
        target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, 1)
        os.dup2(target, 2)
        sys.stdout = sys.stderr = os.fdopen(os.dup(1), "w", buffering=1)  # whatever they were in the parent
        torch.set_num_threads(1)
        tqdm.set_lock(threading.RLock())  # its own is shared with all children: one that is killed may hold it for ever
        run_module._timed = lambda *a, **k: 0.01  # measuring takes a second and changes nothing
        code = int(child() or 0)  # type: ignore[call-overload]
    except BaseException as error:
        print(f"{type(error).__name__}: {error}")
    finally:
        sys.stdout.flush()
        os._exit(code)


def wait(number: int, limit: float = 120.0) -> int:
    """Exit code of a child, negative for a signal; killed if it takes too long."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.killpg(number, signal.SIGKILL)
    os.waitpid(number, 0)
    return -999


def run(child: Child) -> tuple[int, str]:
    """Exit code and everything that was printed."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        return wait(spawn(child, log)), log.read_text(errors="replace")


def fingerprint(out: Path) -> dict[str, str]:
    """What a run has come to: a hash of each tensor file of the last checkpoint, its plain state, and its log without times."""
    found = newest(out, read_run(out).identity)
    marks = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(found.folder.glob("*.safetensors"))}
    state = json.loads((found.folder / "state.json").read_text())
    state.pop("seconds")
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    plain = [{name: value for name, value in line.items() if name not in LINE_TIMES} for line in lines]
    return {**marks, "step": str(found.step), "state": json.dumps(state), "log": json.dumps(plain)}


def leftovers(out: Path) -> list[str]:
    """Temporary files and folders that a start should have cleared."""
    return [str(path) for path in out.rglob(".*") if path.name != ".lock"]


class Scene:
    """A folder with the pictures and the undisturbed run."""

    def __init__(self, root: Path) -> None:
        self.root, self.data = root, pictures(root / "pictures")
        started = time.monotonic()
        code, told = run(start(self.data, root / "calm"))
        assert code == 0, told
        self.seconds = time.monotonic() - started
        self.truth = fingerprint(root / "calm")
        self.count = 0

    def fresh(self) -> Path:
        """A folder for another run."""
        self.count += 1
        return self.root / f"run-{self.count}"

    def ends_well(self, out: Path, *more: str) -> str | None:
        """Go on until the end; what is wrong then, if anything."""
        code, told = run(going_on(out, *more))
        if code:
            return f"going on ended with {code}: {told.strip()[-300:]}"
        if wrong := [name for name, value in self.truth.items() if fingerprint(out).get(name) != value]:
            return f"other than the undisturbed run: {', '.join(wrong)}"
        return f"left behind: {leftovers(out)}" if leftovers(out) else None


def killed(scene: Scene, chance: random.Random, workers: int) -> tuple[int, str | None]:
    """One run, killed at random moments until it comes to its end by itself: how often, and what is wrong."""
    out, kills = scene.fresh(), 0
    more = ["--workers", str(workers)]
    while True:
        begun = (out / "run.toml").exists()
        number = spawn(going_on(out) if begun else start(scene.data, out, *more))
        # later kills come later, so that every run ends some time, also on a machine that has become slower
        patience = chance.uniform(0.0, scene.seconds * (1.0 if kills == 0 else 1.6 + 0.2 * kills))
        code = _until(number, patience)
        if code is None:
            os.killpg(number, signal.SIGKILL)
            wait(number)
            kills += 1
            if (out / "run.toml").exists():
                try:
                    newest(out, read_run(out).identity)
                except (ValueError, OSError) as error:
                    return kills, f"after a kill there is no whole checkpoint: {error}"
            continue
        if code:
            return kills, f"ended with {code}"
        if kills:
            problem = scene.ends_well(out)
            shutil.rmtree(out)
            return kills, problem
        shutil.rmtree(out)


def _until(number: int, seconds: float) -> int | None:
    """The exit code if the child ends within ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
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


def writes(scene: Scene, places: list[int] | None = None) -> Iterator[tuple[str, str | None]]:
    """Each point of the third save and what follows it (the oldest checkpoint goes): its name, and what was wrong."""
    for place in places if places is not None else range(60):
        for after in (False, True):
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
            try:
                newest(out, read_run(out).identity)
            except (ValueError, OSError) as error:
                yield name, f"no whole checkpoint: {error}"
                continue
            yield name, scene.ends_well(out)
            shutil.rmtree(out)
            if place > 40 and after:
                return  # well into the next save


# ------------------------------------------------------------------------------------------------------ other faults


def _stopped_at(scene: Scene, signum: int, group: bool, workers: int, at: int) -> str | None:
    """A polite signal after ``at`` steps: saved, the right exit code, and the run goes on to the same end."""
    out = scene.fresh()
    number = spawn(start(scene.data, out, "--workers", str(workers)))
    if not _reaches(out, at, number):
        return "the run did not come to that step"
    (os.killpg if group else os.kill)(number, signum)
    began = time.monotonic()
    code = wait(number, 20)
    if code != 128 + signum:
        return f"exit code {code}"
    if time.monotonic() - began > 10:
        return "it took more than 10 s to stop"
    return scene.ends_well(out)


def _reaches(out: Path, step: int, number: int, limit: float = 60.0) -> bool:
    """Wait until the log has come to a step."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError, IndexError):
            if json.loads((out / "log.jsonl").read_text().splitlines()[-1])["step"] >= step:
                return True
        if os.waitpid(number, os.WNOHANG)[0]:
            return False
        time.sleep(0.005)
    return False


def _partly(scene: Scene) -> Path:
    """A run that was stopped on its way."""
    out = scene.fresh()
    number = spawn(start(scene.data, out))
    assert _reaches(out, 20, number)
    os.kill(number, signal.SIGTERM)
    assert wait(number) == 143
    return out


def _damaged(scene: Scene, damage: Callable[[Path], None], which: str) -> str | None:
    """A file of the newest checkpoint is damaged: named, passed over, and the run ends as it should."""
    out = _partly(scene)
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


def _refused(child: Child, *words: str, code: int = 2) -> str | None:
    """One line, the exit code, and these words in it."""
    got, told = run(child)
    lines = [line for line in told.strip().splitlines() if line.startswith("noisepath:")]
    if got != code or len(lines) != 1 or "Traceback" in told:
        return f"exit code {got}: {told.strip()[-300:]}"
    missing = [word for word in words if word not in lines[0]]
    return f"{missing} not in: {lines[0]}" if missing else None


def _changed(scene: Scene, change: Callable[[Path], object], *words: str) -> str | None:
    """The pictures change between stop and resume: refused with what changed; allowed when asked for."""
    kept = scene.root / "kept"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(scene.data, kept, copy_function=shutil.copy2)
    out = _partly(scene)
    try:
        change(scene.data)
        problem = _refused(going_on(out), *words)
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
    problem = _refused(_nan(scene, range(12, 40)), "10 steps in a row", ".png", "the last good checkpoint is", "step-0000")
    out = scene.root / "nan-12-40"
    return problem or (None if json.loads((out / "diverged.json").read_text())["pictures"] else "the pictures are not listed")


def _small_disk(scene: Scene, megabytes: float) -> str | None:
    """A disk that becomes full: training goes on, the old checkpoint stands, exit code 3; with room again it ends well."""
    disk = scene.root / "disk"
    disk.mkdir(exist_ok=True)
    if os.system(f"mount -t tmpfs -o size={int(megabytes * 1024)}k tmpfs {disk} 2>/dev/null"):
        return "no tmpfs can be mounted here"
    try:
        out = disk / "run"
        number = spawn(start(scene.data, out), scene.root / "disk.log")
        if not _reaches(out, 10, number):
            return f"did not come to step 10: {(scene.root / 'disk.log').read_text()[-300:]}"
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        code = wait(number)
        told = (scene.root / "disk.log").read_text()
        if code != 3 or "can't be written" not in told or "MB" not in told:
            return f"exit code {code}: {told[-400:]}"
        newest(out, read_run(out).identity)
        filler.unlink()
        return scene.ends_well(out)
    finally:
        os.system(f"umount {disk}")


def _full_from_the_start(scene: Scene) -> str | None:
    disk = scene.root / "disk"
    disk.mkdir(exist_ok=True)
    if os.system(f"mount -t tmpfs -o size=16k tmpfs {disk} 2>/dev/null"):
        return "no tmpfs can be mounted here"
    try:
        code, told = run(start(scene.data, disk / "run"))
        return None if code in (2, 3) and "Traceback" not in told and "No space left" in told else f"{code}: {told[-300:]}"
    finally:
        os.system(f"umount {disk}")


def _read_only(scene: Scene) -> str | None:
    disk = scene.root / "disk"
    disk.mkdir(exist_ok=True)
    if os.system(f"mount -t tmpfs -o ro tmpfs {disk} 2>/dev/null"):
        return "no tmpfs can be mounted here"
    try:
        return _refused(start(scene.data, disk / "run"), "Read-only file system", "run")
    finally:
        os.system(f"umount {disk}")


def _two_at_once(scene: Scene) -> str | None:
    out = scene.fresh()

    def slow() -> object:
        step = run_module.Trainer.step
        run_module.Trainer.step = lambda self: (time.sleep(0.15), step(self))[1]  # type: ignore[method-assign]
        return start(scene.data, out)()

    number = spawn(slow)
    if not _reaches(out, 3, number):
        return "the first did not begin"
    problem = _refused(going_on(out), "in use by process", str(number))
    problem = problem or _refused(start(scene.data, out, "--overwrite"), "in use by process")
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
    if not _reaches(out, 18, number):
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
    def child() -> object:
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + 400 * 2**20,) * 2)
        return noisepath(
            [
                "train",
                "--data",
                str(scene.data),
                "--out",
                str(scene.fresh()),
                *SAID,
                "--batch-size",
                "4096",
                "--channels",
                "64",
                "64",
            ]
        )

    return _refused(child, "out of memory", "--accumulate")


def _foreign_checkpoint(scene: Scene) -> str | None:
    """A newer checkpoint of another run lies in the folder: named, passed over, and not removed."""
    out, other = _partly(scene), scene.fresh()
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
    yield "the disk becomes full", lambda: _small_disk(scene, 24)
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
    yield "no checkpoint at all", lambda: _refused(going_on(_without_checkpoints(scene)), "holds no checkpoint")
    yield "all checkpoints damaged", lambda: _refused(going_on(_all_damaged(scene)), "can be used", "damaged")
    yield "resuming what is no run", lambda: _refused(going_on(scene.data), "holds no run")
    yield "a file where the folder should be", lambda: _refused(start(scene.data, _a_file(scene)), "is a file")


def _without_checkpoints(scene: Scene) -> Path:
    out = _partly(scene)
    shutil.rmtree(out / "checkpoints")
    return out


def _all_damaged(scene: Scene) -> Path:
    out = _partly(scene)
    for path in (out / "checkpoints").glob("*/network.safetensors"):
        _flipped(path)
    return out


def _a_file(scene: Scene) -> Path:
    path = scene.fresh()
    path.write_text("mine")
    return path


def _report(what: str, results: list[tuple[str, str | None]], least: int) -> str:
    wrong = [f"  {name}: {problem}" for name, problem in results if problem]
    good = len(results) - len(wrong)
    verdict = "ok" if not wrong and len(results) >= least else "MISSED"
    return "\n".join([f"{what:60}{good} of {len(results)} (at least {least})  {verdict}", *wrong])


def main() -> None:
    """Run what was asked for; the summary comes last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["kills", "writes", "others"])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    noisepath_quietly = io.StringIO()
    with contextlib.redirect_stdout(noisepath_quietly):  # everything is imported before the first fork
        noisepath(
            [
                "train",
                "--data",
                "digits",
                "--out",
                tempfile.mkdtemp(),
                *RECIPE,
                "--steps",
                "1",
                "--no-evaluate",
                "--no-progress",
            ]
        )
    summary = []
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder))
        print(f"an undisturbed run takes {scene.seconds:.1f} s", flush=True)
        if "kills" in given.parts:
            for workers in given.workers:
                chance, results, kills = random.Random(given.seed + workers), [], 0
                for i in range(given.runs):
                    times, problem = killed(scene, chance, workers)
                    kills += times
                    results.append((f"run {i}", problem))
                    print(f"  {workers} workers, run {i}: killed {times} times, {problem or 'as undisturbed'}", flush=True)
                summary.append(_report(f"runs killed at random ({kills} kills), {workers} workers", results, given.runs))
        if "writes" in given.parts:
            results = []
            for name, problem in writes(scene):
                results.append((name, problem))
                print(f"  {name}: {problem or 'as undisturbed'}", flush=True)
            summary.append(_report("killed at each write, fsync, rename and removal of a save", results, 20))
        if "others" in given.parts:
            results = []
            for name, trial in others(scene):
                problem = trial()
                results.append((name, problem))
                print(f"  {name}: {problem or 'as it should'}", flush=True)
            summary.append(_report("other faults", results, 30))
    print("\n" + "\n".join(summary))


if __name__ == "__main__":
    main()
