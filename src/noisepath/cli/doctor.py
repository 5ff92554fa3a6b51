"""``noisepath doctor``: what this machine and its Python offer, tried out, for a bug report to be pasted into.

It looks at things and changes none: a few files in a temporary folder are made and removed.  What is missing is said, and
is no error; where something stands in the way of a good run there is a line of advice.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from noisepath import __version__
from noisepath.files import write_whole

if TYPE_CHECKING:
    from noisepath.cli.options import Doctor

__all__ = ["Machine", "advice", "examine", "machine", "run"]

PACKAGES = (
    "torch", "numpy", "Pillow", "safetensors", "tyro", "tqdm", "scikit-learn", "matplotlib", "accelerate", "transformers",
    "diffusers",
)  # fmt: skip
VARIABLES = re.compile(r"(OMP|MKL|KMP|OPENBLAS|ATEN|TORCH|PYTORCH|CUDA|NVIDIA|MALLOC)_|(LD_PRELOAD|HF_HUB_OFFLINE|TMPDIR)$")
SPACE, SHARED, MEMORY = 2e9, 256e6, 2e9
"""Bytes below which free disk space, shared memory and free memory are worth a word."""


def run(command: Doctor) -> None:
    """Print the report."""
    report = examine()
    print(json.dumps(report, indent=1) if command.json else _text(report))


def examine() -> dict[str, dict[str, Any] | list[str]]:
    """The whole report: titles, and below each of them what was found by name; advice is a list of lines."""
    here, versions = machine(), _versions()
    tests = {"files": _tried(_files)} | {device: _tried(partial(_learning, device)) for device in _devices()}
    failed = [f"{name}: the self-test {said}" for name, said in tests.items() if said.startswith("failed")]
    return {
        "versions": {"noisepath": __version__, "python": platform.python_version(), **versions},
        "machine": here.shown(),
        "torch": _torch(),
        "environment": {name: value for name, value in sorted(os.environ.items()) if VARIABLES.match(name)},
        "self-test": tests,
        "advice": advice(here, versions, os.environ) + failed,
    }


# --- the machine ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """What advice depends on; sizes are bytes, None is not known, a folder that is not there has no space."""

    cores: int
    """Cores that this process may use."""
    threads: int | None
    """Threads of one of torch's operations; None without torch."""
    memory: float | None
    """Memory of this machine, or what is granted of it."""
    available: float | None
    """Memory that is free now."""
    space: float | None
    """Free in the current folder."""
    shared: float | None
    """Free in shared memory; None where there is none."""
    nvidia: bool
    """An NVIDIA driver is there."""
    cuda: bool
    """torch can use it."""
    cores_there: int = 1
    """Cores of the whole machine."""

    def shown(self) -> dict[str, object]:
        """For the report."""
        return {
            "system": platform.platform(),
            "processor": _processor(),
            "cores": f"{self.cores} of {self.cores_there}",
            "memory": f"{_bytes(self.memory)}, {_bytes(self.available)} free",
            "current folder": f"{_bytes(self.space)} free",
            "shared memory": "none (/dev/shm)" if self.shared is None else f"{_bytes(self.shared)} free (/dev/shm)",
            "nvidia driver": "yes" if self.nvidia else "no",
        }


def machine() -> Machine:
    """This one."""
    torch = _import_torch()
    limit = _number_in("/sys/fs/cgroup/memory.max")
    memory, available = _memory("MemTotal"), _memory("MemAvailable")
    return Machine(
        cores=_cores(),
        threads=None if isinstance(torch, str) else torch.get_num_threads(),
        memory=memory if limit is None else min(limit, memory or limit),
        available=available,
        space=_free(os.curdir),
        shared=_free("/dev/shm"),
        nvidia=Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidia0").exists(),
        cuda=not isinstance(torch, str) and bool(torch.cuda.is_available()),
        cores_there=os.cpu_count() or 1,
    )


def _cores() -> int:
    """Cores that are granted: by affinity, and by the time that a container may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(1, cores)


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith(("model name", "Hardware")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "unknown"


def _memory(name: str) -> float | None:
    """A line of what Linux says of its memory; elsewhere the whole memory alone is known."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith(name + ":"):
                return 1024.0 * int(line.split()[1])
    with suppress(OSError, ValueError, AttributeError):
        if name == "MemTotal":
            return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return None


def _number_in(path: str) -> float | None:
    with suppress(OSError, ValueError):
        return float(int(Path(path).read_text()))
    return None


def _free(folder: str) -> float | None:
    with suppress(OSError):
        return float(shutil.disk_usage(folder).free)
    return None


def _bytes(value: float | None) -> str:
    return "unknown" if value is None else f"{value / 1e9:.1f} GB"


# --- Python and torch -------------------------------------------------------------------------------------------------


def _versions() -> dict[str, str | None]:
    """What is installed; None for what is not."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _import_torch() -> ModuleType | str:
    """torch, or why it can't be had: a broken installation is what a report is for."""
    try:
        import torch
    except (ImportError, OSError, RuntimeError) as error:
        return " ".join(str(error).split())
    return torch


def _torch() -> dict[str, object]:
    torch = _import_torch()
    if isinstance(torch, str):
        return {"can't be imported": torch}
    cpu = [name for name in ("avx2", "avx512", "avx512_bf16", "amx_tile") if _has(torch, name)]
    found: dict[str, object] = {
        "threads": f"{torch.get_num_threads()} for one operation, {torch.get_num_interop_threads()} operations at once",
        "cpu capability": f"{torch.backends.cpu.get_cpu_capability()} ({', '.join(cpu) or 'no extension known'})",
        "cuda": torch.version.cuda or "not in this build",
    }
    for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        about = torch.cuda.get_device_properties(i)
        found[f"cuda:{i}"] = f"{about.name}, {_bytes(about.total_memory)}, compute capability {about.major}.{about.minor}"
    if torch.backends.mps.is_available():
        found["mps"] = f"{_bytes(torch.mps.recommended_max_memory())} recommended at most"
    return found


def _devices() -> list[str]:
    torch = _import_torch()
    if isinstance(torch, str):
        return []
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [device for device, usable in there.items() if usable]


def _has(torch: ModuleType, extension: str) -> bool:
    """Whether torch sees an extension of the processor; its names for this are its own and may go."""
    ask: Callable[[], bool] | None = getattr(torch.cpu, f"_is_{extension}_supported", None)
    return bool(ask and ask())


# --- tried out --------------------------------------------------------------------------------------------------------


def _tried(test: Callable[[], str]) -> str:
    """What a test says, with its time, or why it failed; whatever that is, the report goes on."""
    start = time.perf_counter()
    try:
        said = test()
    except Exception as error:
        return f"failed: {type(error).__name__}: {' '.join(str(error).split())}"
    return f"ok ({said}, {time.perf_counter() - start:.2f} s)"


def _files() -> str:
    """Write, force to disk, rename, read: in the current folder, where runs are most often put."""
    with tempfile.TemporaryDirectory(prefix=".noisepath-", dir=os.curdir) as folder:
        path = Path(folder) / "test"
        for text in ("first", "second"):
            with write_whole(path) as part:
                part.write_text(text)
        if path.read_text() != "second" or len(list(Path(folder).iterdir())) != 1:
            raise OSError("a file that was replaced does not hold what was written")
    return "written, forced to disk and renamed in the current folder"


def _learning(device: str) -> str:
    """A step of training a tiny network, in memory, then two pictures from it in two steps."""
    import torch

    from noisepath import schedules
    from noisepath.denoiser import Denoiser
    from noisepath.nn import UNet, UNetConfig
    from noisepath.sampling import sample
    from noisepath.times import TIMES
    from noisepath.training.objective import Objective

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet(UNetConfig(channels=(8,), attention=(), groups=4)).to(device)
    schedule = schedules.schedule("edm")
    pictures = torch.linspace(-1, 1, 4 * 64, device=device).reshape(4, 1, 8, 8)
    losses = Objective(schedule, "edm", TIMES["log_normal"]()).losses(network, pictures, seed=0, step=0, samples=range(4))
    torch.autograd.backward(losses.weighted.mean())
    torch.optim.AdamW(network.parameters(), lr=1e-3).step()
    made = sample(Denoiser(network.eval(), schedule, "edm"), (2, 1, 8, 8), seed=0, steps=2, progress=False)
    if not bool(made.isfinite().all()):
        raise ValueError("a network trained by one step makes pictures that hold no numbers")
    return "a tiny network trained by one step made two pictures"


# --- what is said of it -----------------------------------------------------------------------------------------------


def advice(here: Machine, versions: Mapping[str, str | None], environment: Mapping[str, str]) -> list[str]:
    """A line for each thing that stands in the way of a good run."""
    return [*_about_packages(versions), *_about_threads(here, environment), *_about_room(here)]


def _about_packages(versions: Mapping[str, str | None]) -> list[str]:
    lines = []
    installed = {name.lower(): version for name, version in versions.items()}
    for name, least in _required().items():
        version = installed.get(name.lower())
        if version is None:
            lines.append(f"{name} is not installed: pip install '{name}>={least}'")
        elif _release(version) < _release(least):
            lines.append(f"{name} {version} is too old: pip install --upgrade '{name}>={least}'")
    return lines


def _about_threads(here: Machine, environment: Mapping[str, str]) -> list[str]:
    if here.threads is None:
        return ["torch can't be imported: nothing but this report works without it"]
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    told = next((f"{name}={environment[name]}" for name in variables if environment.get(name)), None)
    if here.threads < here.cores:
        what = f"{told} is set: unset it" if told else "set OMP_NUM_THREADS to their number"
        return [f"torch computes with {here.threads} of {here.cores} cores; {what} to train faster on the CPU"]
    if here.threads > here.cores:
        return [f"torch computes with {here.threads} threads on {here.cores} cores: set OMP_NUM_THREADS={here.cores}"]
    return []


def _about_room(here: Machine) -> list[str]:
    lines = []
    if here.nvidia and not here.cuda:
        lines.append("there is an NVIDIA driver, but torch can't use it: install torch's build for CUDA (pytorch.org)")
    if here.shared is None and sys.platform == "linux":
        lines.append("there is no /dev/shm: read pictures in the training process itself (--workers 0)")
    elif here.shared is not None and here.shared < SHARED:
        lines.append(f"/dev/shm has only {here.shared / 1e6:.0f} MB free: say --workers 0, or give a container --shm-size=1g")
    if here.space is not None and here.space < SPACE:
        lines.append(f"only {_bytes(here.space)} are free in the current folder: checkpoints of a run need more")
    if here.available is not None and here.available < MEMORY:
        lines.append(f"only {_bytes(here.available)} of memory are free: a smaller --batch-size needs less")
    return lines


def _required() -> dict[str, str]:
    """The packages that noisepath always needs, with the least version of each, as its own installation says."""
    try:
        lines = metadata.requires("noisepath") or []
    except metadata.PackageNotFoundError:  # the sources alone, not installed
        return {}
    found = (re.fullmatch(r"([\w.-]+)\s*>=\s*([\w.]+)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def _release(version: str) -> tuple[int, ...]:
    """2.10.1+cpu -> (2, 10, 1), to be compared; 3.0 and 3 are alike."""
    numbers = re.match(r"[0-9.]*", version)
    parts = [int(part) for part in (numbers[0] if numbers else "").split(".") if part]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def _text(report: Mapping[str, dict[str, Any] | list[str]]) -> str:
    """The report as lines of names and values."""
    lines = []
    for title, values in report.items():
        lines.append(title if values else f"{title}: none")
        if isinstance(values, list):
            lines += [f"  - {line}" for line in values]
        else:
            lines += [f"  {name:16} {'not installed' if value is None else value}" for name, value in values.items()]
    return "\n".join(lines)
