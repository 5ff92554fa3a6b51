"""The tiny run that faults.py disturbs: started in a child, waited for, compared with the undisturbed one.

8 x 8 pictures, 40 steps, a checkpoint each 5.  Runs are children, each in its own process group, of a process that has
loaded all that a run needs already.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.figure  # noqa: F401  (loaded here, and once: each child would take longer for it than for its run)
import numpy as np
import safetensors.torch  # noqa: F401
import torch
import torch._dynamo  # noqa: F401
import tyro  # noqa: F401
from PIL import Image
from tqdm import tqdm

import noisepath.training.run as run_module
from noisepath.cli import main as noisepath
from noisepath.training.checkpoint import newest
from noisepath.training.record import read_run

STEPS, EVERY = 40, 5
LINE_TIMES = ("pictures_per_s", "seconds")
SAID = [
    "--channels", "8", "--blocks", "1", "--attention", "0", "--batch-size", "4", "--warmup", "0", "--precision", "float32",
    "--steps", str(STEPS), "--save-every", str(EVERY), "--log-every", "3", "--sample-every", "40", "--no-evaluate",
    "--no-progress",
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
    if (code := ended_within(number, limit)) is not None:
        return code
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


def ended_within(number: int, seconds: float) -> int | None:
    """The exit code if the child ends within ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def reaches(out: Path, step: int, number: int, limit: float = 60.0) -> bool:
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


def partly(scene: Scene) -> Path:
    """A run that was stopped on its way."""
    out = scene.fresh()
    log = scene.root / "partly.log"
    number = spawn(start(scene.data, out), log)
    assert reaches(out, 20, number), f"the run did not come to step 20: {log.read_text()[-300:]}"
    os.kill(number, signal.SIGTERM)
    assert (code := wait(number)) == 143, f"the run ended with {code}: {log.read_text()[-300:]}"
    return out


def refused(child: Child, *words: str, code: int = 2) -> str | None:
    """One line, the exit code, and these words in it."""
    got, told = run(child)
    lines = [line for line in told.strip().splitlines() if line.startswith("noisepath:")]
    if got != code or len(lines) != 1 or "Traceback" in told:
        return f"exit code {got}: {told.strip()[-300:]}"
    missing = [word for word in words if word not in lines[0]]
    return f"{missing} not in: {lines[0]}" if missing else None


class NoDisk(Exception):
    """No small disk can be had on this machine."""


@contextlib.contextmanager
def small_disk(scene: Scene, options: str) -> Iterator[Path]:
    """A disk in memory, mounted with ``options`` while the block lasts.

    Raises:
        NoDisk: nothing can be mounted here.
    """
    disk = scene.root / "disk"
    disk.mkdir(exist_ok=True)
    if os.system(f"mount -t tmpfs -o {options} tmpfs {disk} 2>/dev/null"):
        raise NoDisk("no tmpfs can be mounted here")
    try:
        yield disk
    finally:
        os.system(f"umount {disk}")
