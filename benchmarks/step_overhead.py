"""The time of one solver's step when the network is free, against the same arithmetic in place by hand.

The denoiser returns a ready tensor (x0), so what is left is the sampler's own.  By hand means: the coefficients are
Python floats that are there already, every operation in place, no iterator, no checks.  One thread, shape (1, 4, 64, 64),
50 steps; all contenders take turns in one run, and the ratio is the median of those within a round.  A step is
(setup and loop - setup) / steps, with setup what is done once for a run whatever the batch: levels to table.

    python benchmarks/step_overhead.py [--rounds 31] [--steps 50]

Peers are measured where they are installed (diffusers; k-diffusion by its ``sampling`` module alone).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

warnings.filterwarnings("ignore")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402

from noisepath.levels import Level  # noqa: E402
from noisepath.loop import Plan, iterate, plan  # noqa: E402
from noisepath.noise import Keyed  # noqa: E402
from noisepath.solvers import SOLVERS, exponential_adams  # noqa: E402

SHAPE = (1, 4, 64, 64)
TARGETS = {"ddim": 2.0, "heun": 2.0, "dpmpp_2m": 2.0, "ddpm": 1.4, "unipc": 2.5, "3m": 2.0, "euler_ancestral": 1.4}
BUILD_TARGET_MS = 2.0
Contender = tuple[Callable[[], Any], Callable[[Any], None]]  # setup, loop(what setup gave)


def by_hand(rule: str, steps: int) -> Contender:
    """The arithmetic of one rule for a network that returns x0, a step at a time."""
    x, D, other, third, buffer = (torch.randn(SHAPE) for _ in range(5))
    numbers = [(0.99, 0.01, 0.001)] * steps

    def ddim(_: object) -> None:  # x = a x + b D
        for a, b, _c in numbers:
            x.mul_(a).add_(D, alpha=b)

    def dpmpp_2m(_: object) -> None:  # x = a x + b D + c D_before
        for a, b, c in numbers:
            x.mul_(a).add_(D, alpha=b).add_(other, alpha=c)

    def ddpm(_: object) -> None:  # x = a x + b D + c z, with z drawn
        for a, b, c in numbers:
            buffer.normal_()
            x.mul_(a).add_(D, alpha=b).add_(buffer, alpha=c)

    def heun(_: object) -> None:  # predicted = a x + b D; x = predicted + c D' - c D
        for a, b, c in numbers:
            x.mul_(a).add_(D, alpha=b)
            x.add_(other, alpha=c).add_(D, alpha=-c)

    def heun_slopes(_: object) -> None:  # for a network that returns dx/dsigma: predicted = x + b d; x = x + b d + c d'
        for _a, b, c in numbers:
            torch.add(x, D, alpha=b, out=buffer)
            x.add_(D, alpha=b).add_(other, alpha=c)

    def adams_3(_: object) -> None:  # x = a x + b D + c D_before + c D_before_that
        for a, b, c in numbers:
            x.mul_(a).add_(D, alpha=b).add_(other, alpha=c).add_(third, alpha=c)

    def unipc(_: object) -> None:  # predicted = a x + b D + c D_before, and then all three beliefs once more
        for a, b, c in numbers:
            x.mul_(a).add_(D, alpha=b).add_(other, alpha=c)
            x.add_(third, alpha=c).add_(D, alpha=b).add_(other, alpha=c)

    return (lambda: None), {"euler_ancestral": ddpm, "3m": adams_3, **locals()}[rule]


def ours(name: str, levels: list[Level]) -> Contender:
    """The bare loop on this solver's table; its draws are keyed by picture, as in every run."""
    D, start = torch.randn(SHAPE), torch.randn(SHAPE)
    noise = Keyed(0, [0], SHAPE[1:])

    def setup() -> Plan:
        return plan(partial(exponential_adams, order=3)(levels) if name == "3m" else SOLVERS[name].build(levels))

    def loop(ready: Plan) -> None:
        for _ in iterate(ready, lambda x, level: D, start, noise):
            pass

    return setup, loop


def diffusers_peers(steps: int) -> dict[tuple[str, str], Contender]:
    try:
        df = importlib.import_module("diffusers")
    except Exception as error:
        print(f"diffusers is left out: {error}")
        return {}

    def wrap(scheduler: Any) -> Contender:
        start, output = torch.randn(SHAPE), torch.randn(SHAPE) * 0.1
        scales = hasattr(scheduler, "scale_model_input")

        def loop(_: object) -> None:
            x = start
            for t in scheduler.timesteps:
                if scales:
                    scheduler.scale_model_input(x, t)
                x = scheduler.step(output, t, x, return_dict=False)[0]

        return partial(scheduler.set_timesteps, steps), loop

    return {
        ("ddim", "diffusers DDIM"): wrap(df.DDIMScheduler(clip_sample=False)),
        ("ddim", "diffusers Euler"): wrap(df.EulerDiscreteScheduler()),
        ("heun", "diffusers Heun"): wrap(df.HeunDiscreteScheduler()),
        ("dpmpp_2m", "diffusers DPM++2M"): wrap(df.DPMSolverMultistepScheduler()),
        ("ddpm", "diffusers DDPM"): wrap(df.DDPMScheduler(clip_sample=False)),
        ("unipc", "diffusers UniPC"): wrap(df.UniPCMultistepScheduler()),
        ("3m", "diffusers DPM++3M"): wrap(df.DPMSolverMultistepScheduler(solver_order=3)),
        ("euler_ancestral", "diffusers Euler a"): wrap(df.EulerAncestralDiscreteScheduler()),
    }


def k_diffusion_peers(steps: int) -> dict[tuple[str, str], Contender]:
    found = importlib.util.find_spec("k_diffusion")
    if found is None or not found.submodule_search_locations:
        print("k-diffusion is left out: not installed")
        return {}
    folder = Path(next(iter(found.submodule_search_locations)))
    package, utils = ModuleType("k_diffusion"), ModuleType("k_diffusion.utils")
    package.__path__ = [str(folder)]
    package.utils = utils  # type: ignore[attr-defined]
    utils.append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]  # type: ignore[attr-defined]
    sys.modules |= {"k_diffusion": package, "k_diffusion.utils": utils}
    for name, attribute in (("scipy", "integrate"), ("torchdiffeq", "odeint"), ("torchsde", "BrownianTree")):
        if importlib.util.find_spec(name) is None:  # imported there, not used by these samplers
            sys.modules[name] = ModuleType(name)
            setattr(sys.modules[name], attribute, None)
    spec = importlib.util.spec_from_file_location("k_diffusion.sampling", folder / "sampling.py")
    assert spec is not None and spec.loader is not None
    sampling = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sampling)

    def wrap(sampler: Callable[..., Any]) -> Contender:
        start, D = torch.randn(SHAPE), torch.randn(SHAPE) * 0.1

        def loop(sigmas: torch.Tensor) -> None:
            sampler(lambda x, sigma, **_: D, start, sigmas, disable=True)

        return (lambda: sampling.get_sigmas_karras(steps, 0.01, 157.0)), loop

    return {
        ("ddim", "k-diffusion euler"): wrap(sampling.sample_euler),
        ("heun", "k-diffusion heun"): wrap(sampling.sample_heun),
        ("dpmpp_2m", "k-diffusion dpmpp_2m"): wrap(sampling.sample_dpmpp_2m),
        ("ddpm", "k-diffusion euler_ancestral"): wrap(sampling.sample_euler_ancestral),
        ("euler_ancestral", "k-diffusion euler_ancestral"): wrap(sampling.sample_euler_ancestral),
    }


def interleaved(jobs: dict[Any, Callable[[], Any]], rounds: int) -> dict[Any, list[float]]:
    """Seconds of each job in every round; they take turns, a few milliseconds each, so that they share good and bad times."""
    counts = {}
    for name, job in jobs.items():
        job()
        began = time.perf_counter()
        job()
        counts[name] = max(1, int(0.005 / (time.perf_counter() - began)))
    seen: dict[Any, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            began = time.perf_counter()
            for _ in range(counts[name]):
                job()
            seen[name].append((time.perf_counter() - began) / counts[name])
    return seen


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=31)
    arguments.add_argument("--steps", type=int, default=50)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    levels = [Level.from_log_snr(-9.0 + 16.0 * i / (given.steps - 1)) for i in range(given.steps)] + [Level(1.0, 0.0)]

    contenders: dict[tuple[str, str], Contender] = {}
    for rule in TARGETS:
        contenders[rule, "by hand"] = by_hand(rule, given.steps)
        contenders[rule, "noisepath"] = ours(rule, levels)
    contenders["heun", "by hand, slopes given"] = by_hand("heun_slopes", given.steps)
    contenders |= diffusers_peers(given.steps) | k_diffusion_peers(given.steps)

    jobs: dict[Any, Callable[[], Any]] = {}
    for rule in TARGETS:  # those of one rule one after another
        for key, (setup, loop) in contenders.items():
            if key[0] == rule:
                jobs[key, "setup"] = setup
                jobs[key, "all"] = lambda setup=setup, loop=loop: loop(setup())
                if key[1] == "noisepath":  # what it sets up can be used again: time the loop itself
                    jobs[key, "loop"] = partial(loop, setup())
    builds = {f"{name} table": partial(solver.build, levels) for name, solver in SOLVERS.items()}
    builds["exponential_adams order 4 table"] = partial(exponential_adams, levels, order=4, tau=0.5)
    with torch.no_grad():
        rounds = interleaved({**jobs, **builds}, given.rounds)
    took = {name: statistics.median(times) for name, times in rounds.items()}

    loops: dict[tuple[str, str], list[float]] = {}
    for key in contenders:
        own = rounds.get((key, "loop"))
        loops[key] = own or [max(t - took[key, "setup"], 1e-9) for t in rounds[key, "all"]]
    step = {key: statistics.median(times) / given.steps * 1e6 for key, times in loops.items()}
    # the ratio within each round, and of those the median: a slow moment slows both
    ratio = {
        key: statistics.median(a / b for a, b in zip(times, loops[key[0], "by hand"], strict=True))
        for key, times in loops.items()
    }
    print(f"torch {torch.__version__}, {SHAPE}, {given.steps} steps, 1 thread: microseconds a step (ratio to by hand)")
    for rule in TARGETS:
        for key in contenders:
            if key[0] == rule:
                once = took[key, "setup"] * 1e6
                print(f"  {rule:16} {key[1]:28} {step[key]:7.1f}  ({ratio[key]:5.2f}x)   setup {once:6.0f} us")
    print(f"\na table of {given.steps} steps, ms:")
    for name in builds:
        print(f"  {name:32} {took[name] * 1e3:6.2f}   (target <= {BUILD_TARGET_MS:g})")
    print("\na step, ratio to the same arithmetic by hand (best peer in this run beside it):")
    for rule, target in TARGETS.items():
        peers = [ratio[key] for key in contenders if key[0] == rule and key[1][:2] in ("di", "k-")]
        beside = f"{min(peers):.1f}" if peers else "not installed"
        print(f"  {rule:16} {ratio[rule, 'noisepath']:5.2f}   target <= {target:g}   best peer {beside}")


if __name__ == "__main__":
    main()
